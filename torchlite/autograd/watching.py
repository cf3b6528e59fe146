"""Every primitive operator that runs, of forward and backward, told to whoever watches; nothing is paid where nobody does."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from typing import Any, Protocol

from torchlite import backends, dispatch
from torchlite.devices import Device
from torchlite.ir import REGISTRY, Op


class Watcher(Protocol):
    """Is told of every operator."""

    use_cuda: bool
    """Whether it wants to be told when a GPU has finished, not when it was asked to begin."""

    def ran(self, name: str, start_ns: int, end_ns: int, arrays: Sequence[Any], result: Any) -> None:
        """An operator has run on ``arrays``; in place where its name ends in an underscore."""


_watchers: list[Watcher] = []
_originals: dict[Op, tuple[Any, Any, Any]] = {}
_whole: list[Any] = []  # what `dispatch` had for operators on a GPU


def watch(watcher: Watcher) -> None:
    """Tell ``watcher``, until `unwatch`."""
    if not _watchers:
        _wrap_operators()
    _watchers.append(watcher)


def unwatch(watcher: Watcher) -> None:
    """End what `watch` began."""
    _watchers.remove(watcher)
    if not _watchers:
        _unwrap_operators()


def _wrap_operators() -> None:
    for op in REGISTRY.values():
        _originals[op] = op.run, op.ufunc, op.inplace
        object.__setattr__(op, "run", _told(op.name, op.run))
        object.__setattr__(op, "ufunc", None)
        if op.inplace is not None:
            object.__setattr__(op, "inplace", _told(f"{op.name}_", op.inplace))

    _whole.append(dispatch.whole)
    dispatch.whole = _told_of_whole


def _unwrap_operators() -> None:
    dispatch.whole = _whole.pop()
    while _originals:
        op, (run, ufunc, inplace) = _originals.popitem()
        object.__setattr__(op, "run", run)
        object.__setattr__(op, "ufunc", ufunc)
        object.__setattr__(op, "inplace", inplace)


def _told(name: str, run: Any) -> Any:
    @functools.wraps(run)
    def told(xp: Any, *arrays: Any, **params: Any) -> Any:
        start = time.perf_counter_ns()
        result = run(xp, *arrays, **params)
        _tell(name, start, arrays, result)
        return result

    return told


def _told_of_whole(op: Op, arrays: Sequence[Any], params: dict[str, Any], device: Device) -> Any:
    """Kernels for the whole of an operator run in place of its ``run``."""
    start = time.perf_counter_ns()
    result = None if _whole[0] is None else _whole[0](op, arrays, params, device)
    if result is not None:
        _tell(op.name, start, arrays, result)
    return result


def _tell(name: str, start: int, arrays: Sequence[Any], result: Any) -> None:
    if any(each.use_cuda for each in _watchers):
        backends.synchronize()
    end = time.perf_counter_ns()
    for each in _watchers:
        each.ran(name, start, end, arrays, result)
