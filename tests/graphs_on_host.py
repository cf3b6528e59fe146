"""Streams, memory pools and CUDA graphs of a simulated GPU.

While a stream captures, kernels and calls of libraries are noted and not run. What NumPy computes has to run, for its results
to have a shape; what it has overwritten is put back when the capture ends, and what it has made is filled with numbers that
make no sense, so that nothing but a launch of the graph computes; before each launch as well, since parts of a graph have
memory of each other. What a real capture refuses is refused: copies from and to the host, waiting, and so is memory that is
not of a pool, which something else could be given while the graph is launched.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

NULL_STREAM = 7  # the address of the current stream

_numbers = itertools.count(100)


class Capture:
    """What a stream captures."""

    def __init__(self) -> None:
        self.allocator = _state.allocator
        self.steps: list[Callable[[], None]] = []
        self.overwritten: list[tuple[Any, Any]] = []
        self.made: list[Any] = []
        self.refused = ""

    def compute(self, run: Callable[[], Any], given: Sequence[Any]) -> Any:
        """What NumPy computes of these arrays, now and at every launch."""
        before = [array.copy() for array in given]
        result = run()
        pairs = zip(given, before, strict=True)
        self.overwritten += [(array, old) for array, old in pairs if array.tobytes() != old.tobytes()]
        found = list(result) if type(result) in (tuple, list) else [result]
        found = [np.asarray(x) if isinstance(x, np.generic) else x for x in found]
        new = [isinstance(x, np.ndarray) and not any(np.may_share_memory(x, a) for a in given) for x in found]
        for x, is_new in zip(found, new, strict=True):
            if is_new:
                self.allocated(x)

        def again() -> None:
            result = run()
            values = list(result) if type(result) in (tuple, list) else [result]
            for target, value, is_new in zip(found, values, new, strict=True):
                if is_new:
                    np.copyto(target, value)

        self.steps.append(again)
        return type(result)(found) if type(result) in (tuple, list) else found[0]

    def allocated(self, array: Any) -> Any:
        """The array, whose memory must be a pool's."""
        if _state.allocator is None:
            self.refuse("memory of a graph is not of a pool of its own")
        if _state.allocator == self.allocator:
            self.made.append(array)
        return array

    def scramble(self) -> None:
        """Fill with numbers that make no sense what the pool may have given to others before."""
        for array in self.made:
            if array.flags.c_contiguous and array.flags.writeable:
                array.reshape(-1).view(np.uint8)[...] = 0xC7

    def refuse(self, what: str) -> None:
        """Spoil the capture.

        Raises:
            RuntimeError: as CuPy does.
        """
        self.refused = what
        raise RuntimeError(f"the current stream is capturing, so this is not allowed: {what}")


class _State:
    """The one thread's."""

    capture: Capture | None = None
    allocator: Any = None
    stream: Any = None
    launches = 0


_state = _State()


def capturing() -> Capture | None:
    """The capture that is under way."""
    return _state.capture


def launched(run: Callable[[], None]) -> None:
    """A launch of a kernel: done, or noted."""
    if _state.capture is None:
        run()
    else:
        _state.capture.steps.append(run)


def refuse(what: str) -> None:
    """Refuse what can't be captured, while something is."""
    if _state.capture is not None:
        _state.capture.refuse(what)


def refuse_library(name: str) -> None:
    """Refuse a call of a library, while something is captured."""
    if _state.capture is not None:
        _state.capture.refused = name
        raise NotImplementedError(f"calling {name} API during stream capture is currently unsupported")


class Graph:
    """What was captured."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture

    def launch(self) -> None:
        """Do all of it."""
        refuse("the launch of a graph")
        _state.launches += 1
        self._capture.scramble()
        with np.errstate(all="ignore"):
            for step in self._capture.steps:
                step()


class Stream:
    """A stream; all of them do at once what they are given."""

    null: Any

    def __init__(self, non_blocking: bool = False) -> None:
        self.ptr = next(_numbers) if non_blocking else NULL_STREAM
        self._outside: list[Any] = []

    def __enter__(self) -> Stream:
        self._outside.append(_state.stream)
        _state.stream = self
        return self

    def __exit__(self, *_: object) -> None:
        _state.stream = self._outside.pop()

    def begin_capture(self) -> None:
        """Begin a capture."""
        if self.ptr == NULL_STREAM:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        assert _state.capture is None
        _state.capture = Capture()

    def end_capture(self) -> Graph:
        """The graph."""
        capture, _state.capture = _state.capture, None
        assert capture is not None
        for array, old in reversed(capture.overwritten):
            np.copyto(array, old)
        capture.scramble()
        if capture.refused:
            raise RuntimeError(f"the stream was capturing, but an error has occurred: {capture.refused}")
        return Graph(capture)

    def is_capturing(self) -> bool:
        """Whether what it is given is noted and not done."""
        return _state.capture is not None and _state.stream is self

    def synchronize(self) -> None:
        """Wait."""
        refuse("waiting for a stream")


Stream.null = Stream()
_state.stream = Stream.null


def current_stream() -> Stream:
    """The one whose block this is."""
    return _state.stream  # type: ignore[no-any-return]


class MemoryPool:
    """A pool, of which nothing but its being used is simulated."""

    def malloc(self, _size: int) -> Any:
        """Never called."""
        raise NotImplementedError

    def total_bytes(self) -> int:
        """Of memory that is not simulated."""
        return 0


class using_allocator:
    """Within it memory is that of a pool."""

    def __init__(self, allocator: Any) -> None:
        self._allocator = allocator

    def __enter__(self) -> None:
        self._outside, _state.allocator = _state.allocator, self._allocator

    def __exit__(self, *_: object) -> None:
        _state.allocator = self._outside


def launches() -> int:
    """How many graphs have been launched."""
    return _state.launches
