"""Where the time goes: ``torchlite.autograd.profiler``.

While a `profile` is entered every primitive operator, of forward and backward, notes when it ran and for how long;
outside of one nothing is paid for it. On a GPU the times are those of launching unless ``use_cuda`` waits for each.
"""

from __future__ import annotations

import functools
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from torchlite.autograd.watching import unwatch, watch

F = TypeVar("F", bound=Callable[..., Any])
_active: list[profile] = []


@dataclass
class FunctionEvent:
    """One call: times in microseconds, ``start_us`` since the profile was entered.

    Attributes:
        name: the operator, or the label of a `record_function`.
        start_us, cpu_time_total: when it began and how long it took.
        thread: the thread's number.
        input_shapes: shapes of the arrays it was given, where they were asked for.
        self_cpu_time_total: its time without the events inside it.
    """

    name: str
    start_us: float
    cpu_time_total: float
    thread: int
    input_shapes: list[list[int]] = field(default_factory=list)
    self_cpu_time_total: float = 0.0


@dataclass
class FunctionEventAvg:
    """All calls of one name together; times in microseconds."""

    key: str
    count: int = 0
    cpu_time_total: float = 0.0
    self_cpu_time_total: float = 0.0
    input_shapes: list[list[int]] = field(default_factory=list)

    @property
    def cpu_time(self) -> float:
        """Mean time of a call."""
        return self.cpu_time_total / self.count if self.count else 0.0


class EventList(list[Any]):
    """Events, or their averages, that print as a table."""

    def table(
        self, sort_by: str | None = None, row_limit: int = 100, header: str | None = None, **_display: Any
    ) -> str:
        """The events as text, the largest ``sort_by`` (such as "cpu_time_total") first.

        Raises:
            ValueError: for a column that events do not have.
        """
        rows = self if sort_by is None else sorted(self, key=lambda row: -_column(row, sort_by))
        total = sum(row.self_cpu_time_total for row in self) or 1.0
        lines = [
            f"{'Name':<32}{'Self CPU %':>12}{'Self CPU':>14}{'CPU total':>14}{'CPU time avg':>14}{'# of Calls':>12}"
        ]
        for row in rows[: row_limit if row_limit >= 0 else None]:
            count = getattr(row, "count", 1)
            lines.append(
                f"{getattr(row, 'key', None) or row.name:<32}{100 * row.self_cpu_time_total / total:>11.2f}%"
                f"{_time(row.self_cpu_time_total):>14}{_time(row.cpu_time_total):>14}"
                f"{_time(row.cpu_time_total / max(count, 1)):>14}{count:>12}"
            )
        lines.append(f"Self CPU time total: {_time(total if len(self) else 0.0)}")
        return "\n".join([header, *lines] if header else lines)

    def __str__(self) -> str:
        return self.table()

    @property
    def self_cpu_time_total(self) -> float:
        """Sum of the times that are no part of another event's."""
        return sum(event.self_cpu_time_total for event in self)


def _column(row: Any, name: str) -> float:
    value = getattr(row, name, None)
    if not isinstance(value, (int, float)):
        known = "cpu_time, cpu_time_total, self_cpu_time_total, count"
        raise ValueError(f"table: can't sort by {name!r}; the columns are {known}")
    return value


def _time(microseconds: float) -> str:
    if microseconds >= 1e6:
        return f"{microseconds / 1e6:.3f}s"
    return f"{microseconds / 1e3:.3f}ms" if microseconds >= 1e3 else f"{microseconds:.3f}us"


class profile:
    """Note every operator that runs in a ``with`` block.

    Args:
        enabled: False makes it do nothing.
        use_cuda: wait for the GPU after every operator, so that its time is counted where it arises.
        record_shapes: keep the shapes of inputs, by which `key_averages` can then group.

    >>> import torchlite as torch
    >>> with torch.autograd.profiler.profile() as prof:
    ...     _ = torch.ones(3).exp()
    >>> [event.name for event in prof.function_events]
    ['exp']
    """

    def __init__(
        self, enabled: bool = True, *, use_cuda: bool = False, record_shapes: bool = False, **_accepted: Any
    ) -> None:
        self.enabled, self.use_cuda, self.record_shapes = enabled, use_cuda, record_shapes
        self.function_events = EventList()
        self._entered_ns = 0

    def __enter__(self) -> Self:
        if self.enabled:
            watch(self)
            self._entered_ns = time.perf_counter_ns()
            _active.append(self)
        return self

    def __exit__(self, *exc: object) -> None:
        if self.enabled:
            _active.remove(self)
            unwatch(self)
            self.function_events.sort(key=lambda event: event.start_us)
            _attribute(self.function_events)

    def ran(self, name: str, start_ns: int, end_ns: int, arrays: Iterable[Any], result: Any) -> None:  # noqa: ARG002
        """Note an operator, as `torchlite.autograd.watching` tells of it."""
        shapes = [list(a.shape) for a in arrays if hasattr(a, "shape")] if self.record_shapes else []
        start, length = (start_ns - self._entered_ns) / 1e3, (end_ns - start_ns) / 1e3
        self.function_events.append(FunctionEvent(name, start, length, threading.get_ident(), shapes))

    def key_averages(self, group_by_input_shape: bool = False) -> EventList:
        """The events of each name together, or of each name and shapes."""
        groups: dict[Any, FunctionEventAvg] = {}
        for event in self.function_events:
            key = (event.name, str(event.input_shapes) if group_by_input_shape else "")
            group = groups.setdefault(key, FunctionEventAvg(event.name))
            group.count += 1
            group.cpu_time_total += event.cpu_time_total
            group.self_cpu_time_total += event.self_cpu_time_total
            if group_by_input_shape:
                group.input_shapes = event.input_shapes
        return EventList(groups.values())

    def total_average(self) -> FunctionEventAvg:
        """All events together."""
        total = FunctionEventAvg("Total")
        for event in self.function_events:
            total.count += 1
            total.cpu_time_total += event.cpu_time_total
            total.self_cpu_time_total += event.self_cpu_time_total
        return total

    @property
    def self_cpu_time_total(self) -> float:
        """Sum of the times that are no part of another event's, in microseconds."""
        return self.function_events.self_cpu_time_total

    def table(self, sort_by: str | None = None, row_limit: int = 100, **display: Any) -> str:
        """The events one by one as text; `key_averages` groups them."""
        return self.function_events.table(sort_by, row_limit, **display)

    def export_chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Write the events as a file for chrome://tracing or Perfetto."""
        events = [
            {"name": e.name, "ph": "X", "ts": e.start_us, "dur": e.cpu_time_total, "pid": os.getpid(), "tid": e.thread}
            for e in self.function_events
        ]
        Path(path).write_text(json.dumps({"traceEvents": events}))

    def __str__(self) -> str:
        return self.table()


class record_function:
    """Note a ``with`` block, or the calls of a function that this decorates, under a name of your own."""

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name, self.args = name, args
        self._starts: list[int] = []

    def __enter__(self) -> Self:
        self._starts.append(time.perf_counter_ns())
        return self

    def __exit__(self, *exc: object) -> None:
        start, end = self._starts.pop(), time.perf_counter_ns()
        for each in _active:
            each.ran(self.name, start, end, (), None)

    def __call__(self, function: F) -> F:
        """Use as a decorator."""

        @functools.wraps(function)
        def noted(*args: Any, **kwargs: Any) -> Any:
            with record_function(self.name, self.args):
                return function(*args, **kwargs)

        return noted  # type: ignore[return-value]


def _attribute(events: list[FunctionEvent]) -> None:
    """Give each event the time that no event inside it took."""
    for thread in {event.thread for event in events}:
        open_events: list[FunctionEvent] = []
        # Of two that begin together the longer one is outside.
        for event in sorted(_of_thread(events, thread), key=lambda e: (e.start_us, -e.cpu_time_total)):
            event.self_cpu_time_total = event.cpu_time_total
            while open_events and _end(open_events[-1]) <= event.start_us:
                open_events.pop()
            if open_events:
                open_events[-1].self_cpu_time_total -= event.cpu_time_total
            open_events.append(event)


def _of_thread(events: Iterable[FunctionEvent], thread: int) -> Iterator[FunctionEvent]:
    return (event for event in events if event.thread == thread)


def _end(event: FunctionEvent) -> float:
    return event.start_us + event.cpu_time_total
