"""A replay that finds everything as the last one has left it, so that nothing but the program has to run.

What Python does around a program of a hundred microseconds takes as long as the program where it goes through lists of
arrays and makes tensors anew; the more so as the program has pushed Python's objects out of the caches.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import chain
from operator import attrgetter
from typing import Any
from weakref import getweakrefcount

from torchlite._tensor import Tensor, wrap
from torchlite.autograd.graph import Storage
from torchlite.backends.memory import CPYTHON, address
from torchlite.backends.native import kernel
from torchlite.compiler.captured import Captured, Computed
from torchlite.compiler.identities import Identities
from torchlite.compiler.program import Execution
from torchlite.compiler.program.execution import Frame, viewed

_MANY = 8  # storages, from which on fetching them at once takes less than waiting for each
_data, _storage = map(attrgetter, ("_data", "_storage"))


def repetition(captured: Captured, tensors: Sequence[Tensor], moving: Sequence[int]) -> Repetition | None:
    """What is needed to repeat the replay that has just ended; None where a repetition would have to do more.

    Args:
        captured: the call.
        tensors: in the places of its externals.
        moving: which of these may be others next time.
    """
    run = captured.run
    if not isinstance(run, Execution) or not run.repeats or captured.generators:
        return None
    fresh, slots, written, saved = captured.parts(run.outputs)
    leaving = [*fresh, *slots]
    if any(kind != "result" for _, kind, _ in leaving) or any(
        v is not None or kind == "result" for v, kind, _ in written
    ):
        return None
    if saved and (not captured.owners_are_known() or any(kind not in ("result", "input") for _, kind, _ in saved)):
        return None
    if any(type(spec) is not int or i in moving for i, spec, _ in captured.slots):
        return None
    frame = run.take_frame()
    if frame is None:
        return None
    made = Repetition(captured, run, frame, tensors, moving)
    if frame.works_on([t._data for t in tensors]) and made.gradients_are_of(frame):
        made.begin()
        return made
    made.end()  # another thread's
    return None


class Repetition:
    """A replay with the memory and the gradients of the last one; see `repetition`."""

    def __init__(
        self, captured: Captured, run: Execution, frame: Frame, tensors: Sequence[Tensor], moving: Sequence[int]
    ) -> None:
        self._run, self._frame = run, frame
        fresh, slots, _, self._saved = captured.parts(run.outputs)
        stays = [(i, number) for (i, _, read), (_, _, number) in zip(captured.slots, slots, strict=True) if not read]
        self._stay = {number: tensors[i]._grad for i, number in stays}
        self._gradients: list[Any] = list(self._stay.values())
        memories = [frame.memory(number) for number in self._stay]
        self._owned = [*self._gradients, *map(_storage, self._gradients), *map(_data, self._gradients), *memories]
        attributes = [*map(vars, self._gradients), *map(vars, map(_storage, self._gradients))]
        self._there = Identities(attributes, attributes=[(tensors[i], ("_grad",)) for i, _ in stays])
        self._references: list[int] = []

        results = [number for _, kind, number in (*fresh, *slots, *self._saved) if kind == "result"]
        self._chosen = {number: frame.choice(number) for number in results if number not in self._stay}
        self._fresh = fresh
        self._anew = [
            (tensors[i], number) for (i, _, read), (_, _, number) in zip(captured.slots, slots, strict=True) if read
        ]
        self._moving = [(i, entry) for i in moving if (entry := run.program.buffers.get(("input", i))) is not None]
        first = len(captured.externals)
        self._numbers = [(run.program.numbers[v], captured.numbers[i - first]) for v, i in run.layout.floats]
        self._written: dict[int, list[Storage]] = {}
        for i, times in captured.writes:
            if i not in moving:
                self._written.setdefault(times, []).append(tensors[i]._storage)
        storages = [*chain.from_iterable(self._written.values())]
        fetching = kernel("contents.fetching") if CPYTHON and len(storages) >= _MANY else None
        self._fetch_storages = fetching and fetching(storages)
        self._written_moving = [(i, times) for i, times in captured.writes if i in moving]

    def gradients_are_of(self, frame: Frame) -> bool:
        """Whether the gradients lie where the program will write them."""
        return all(
            frame.gives(number, gradient._data) for number, gradient in self._stay.items() if gradient is not None
        )

    def begin(self) -> None:
        """Take note of how many have the gradients, now that nobody else has."""
        self._references = list(map(sys.getrefcount, self._owned))

    def holds(self) -> bool:
        """Whether the gradients of the last call are where it has left them, untouched, and nobody else has one."""
        return (
            self._there.hold()
            and list(map(sys.getrefcount, self._owned)) == self._references
            and not any(map(getweakrefcount, self._gradients))
        )

    def compute(self, tensors: Sequence[Tensor]) -> Computed:
        """As `Captured.compute`."""
        frame = self._frame
        table, numbers = frame.table, frame.numbers
        for i, entry in self._moving:
            table[entry] = address(tensors[i]._data)
        for k, slot in self._numbers:
            numbers[k] = slot.read()
        arrays = {}
        for number, (place, pool) in self._chosen.items():
            given = pool.free()
            if place is not None:
                table[place] = given.address
            arrays[number] = given.array
        for segment in self._run.segments:
            segment(frame)
        if self._fetch_storages is not None:
            self._fetch_storages()
        for times, storages in self._written.items():
            Storage.all_written(storages, times)
        for i, times in self._written_moving:
            tensors[i]._storage.written(times)
        for holder, number in self._anew:
            holder._grad = wrap(arrays[number])

        fresh = [arrays[number] if v is None else viewed(v, arrays[number]) for v, _, number in self._fresh]
        if not self._saved:
            return fresh, []
        places = [(v, arrays[n] if kind == "result" else tensors[n]._data) for v, kind, n in self._saved]
        return fresh, [array if v is None else viewed(v, array) for v, array in places]

    def end(self) -> None:
        """Give the memory back."""
        self._frame.forget([i for i, _ in self._moving])
        self._run.give_back(self._frame)
