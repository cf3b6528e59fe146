"""Running a program: its memory, the table of addresses, and arrays that it gives away and takes back."""

from __future__ import annotations

import ctypes
import sys
import weakref
from collections.abc import Container, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from torchlite.backends.memory import address
from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.operators import on_arrays
from torchlite.compiler.program.layout import Layout, Step
from torchlite.compiler.program.memory import ALIGNED
from torchlite.compiler.program.places import Array, Place
from torchlite.compiler.program.units import base
from torchlite.compiler.program.writer import Program, Segment

_QUIET = nullcontext()  # nothing of NumPy runs that could warn
_LARGE = 1 << 25  # bytes, from which on glibc asks the system for memory, though there is some that is free
_OWN = 2  # references to an array that nobody has: that of `_Given`, and the argument of getrefcount


class Stopped(RuntimeError):
    """A program has ended before it changed anything; ``node`` says where."""

    def __init__(self, node: Node) -> None:
        super().__init__(f"{node.op.name} of {node.line}")
        self.node = node


class Execution:
    """A program that can be called.

    Args:
        graph: that it computes.
        layout: of its memory.
        program: its text.
        libraries: its texts, compiled.
    """

    def __init__(self, graph: Graph, layout: Layout, program: Program, libraries: Sequence[Any]) -> None:
        self.graph = graph
        self.layout = layout
        self.program = program
        self.segments = [
            _Compiled(libraries[part.text], part.name, program) if isinstance(part, Segment) else _Host(part, program)
            for part in program.segments
        ]
        self.arrays = [(i, program.buffers.get(("input", i))) for i, v in enumerate(graph.inputs) if v.aval is not None]
        self.dense = [i for i, v in enumerate(graph.inputs) if v in layout.dense]
        self.outputs = [self._source(v) for v in layout.outputs]
        self._quiet = all(isinstance(segment, _Compiled) for segment in self.segments)
        self.repeats = self._quiet and not self.dense
        """Whether a call reads nothing but its table of addresses and its numbers."""
        self._frames: list[Frame] = []

    @property
    def source(self) -> str:
        """The C, without what all programs begin with."""
        return self.program.source

    def lying(self, outputs: Sequence[int]) -> list[Any]:
        """For each of these outputs an array without meaningful numbers that lies as it will; None for numbers."""
        values = [self.layout.outputs[i] for i in outputs]
        return [None if v is None or v.aval is None else viewed(v, self.layout.places[base(v)].ghost) for v in values]

    def __call__(self, given: Sequence[Any], idle: Container[int] = ()) -> list[Any]:
        """The outputs of the graph; None for those that are written into inputs.

        Args:
            given: for each input of the graph an array, which lies as was said when it was laid out, or a number.
            idle: ids of arrays which an earlier call gave away and that only one tensor holds, which is about to lose them.

        Raises:
            Stopped: where a check fails, or a number is none that C computes as Python does; nothing has been changed.
            Exception: of an operation on the host; nothing has been changed.
        """
        frame = self.take_frame() or Frame(self)
        try:
            frame.begin(given, idle)
            with _QUIET if self._quiet else np.errstate(all="ignore"):
                for segment in self.segments:
                    segment(frame)
            return frame.outputs()
        finally:
            frame.end()
            self.give_back(frame)

    def take_frame(self) -> Frame | None:
        """The memory of the call that has ended last; None before the first one, and where other threads are in theirs."""
        try:
            return self._frames.pop()
        except IndexError:
            return None

    def give_back(self, frame: Frame) -> None:
        """Let other calls have the memory."""
        self._frames.append(frame)

    def _source(self, v: Value | None) -> tuple[Value | None, str, int]:
        """Of an output the view that it is (None for all of the array, or for nothing), and which array that is of."""
        if v is None or v.aval is None:
            return v, "number", 0
        buffer = self.layout.places[base(v)].buffer
        return None if v.node is None or v.node.op.kind != "view" else v, buffer.kind, buffer.number


class Frame:
    """The memory of one call at a time.

    Attributes:
        table: the addresses of everything.
        given: the inputs of the call.
        numbers: those that C knows.
        objects: numbers that only Python knows, by value.
    """

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        layout, program = execution.layout, execution.program
        self.given: Sequence[Any] = ()
        self.numbers = np.zeros(max(len(program.numbers), 1))
        self.objects: dict[Value, Any] = {}
        if layout.arena >= _LARGE:
            _give_back_what_is_free()
        self._arena = aligned(layout.arena)
        self.table = np.zeros(len(program.buffers) + 1, np.uint64)
        self.table[0] = address(self._arena)
        self.table_pointer, self.numbers_pointer = address(self.table), address(self.numbers)
        self._seen: list[Any] = [_nothing] * len(execution.graph.inputs)
        self._pools = [_Pool(place) for place in layout.results]
        self._results: list[_Given] = []
        self._slots = [program.buffers.get(("result", k)) for k in range(len(layout.results))]
        self._constants = layout.constants
        for k, array in enumerate(layout.constants):
            entry = program.buffers.get(("constant", k))
            if entry is not None:
                self.table[entry] = address(array)

    def begin(self, given: Sequence[Any], idle: Container[int]) -> None:
        """Take the inputs of a call."""
        execution, table, seen = self._execution, self.table, self._seen
        if execution.dense:
            given = list(given)
            for i in execution.dense:
                given[i] = np.ascontiguousarray(given[i])
        self.given = given
        for i, entry in execution.arrays:
            array = given[i]
            if array is not seen[i]():
                seen[i] = weakref.ref(array)
                if entry is not None:
                    table[entry] = address(array)
        for v, i in execution.layout.floats:
            self.numbers[execution.program.numbers[v]] = given[i]
        self._results = [pool.free(idle) for pool in self._pools]
        for entry, result in zip(self._slots, self._results, strict=True):
            if entry is not None:
                table[entry] = result.address

    def end(self) -> None:
        """Let go of everything that belongs to others."""
        self.given, self._results = (), []
        self.objects.clear()

    def outputs(self) -> list[Any]:
        """What the graph gives."""
        return [self._output(v, kind, number) for v, kind, number in self._execution.outputs]

    def _output(self, v: Value | None, kind: str, number: int) -> Any:
        if kind == "result":
            array = self._results[number].array
        elif kind == "input":
            array = self.given[number]
        elif kind == "constant":
            array = self._constants[number]
        else:
            return None if v is None else self.number(v)
        return array if v is None else viewed(v, array)

    def number(self, v: Value) -> Any:
        """A Python number."""
        if v in self._execution.program.numbers:
            return float(self.numbers[self._execution.program.numbers[v]])
        if v in self.objects:
            return self.objects[v]
        for i, other in enumerate(self._execution.graph.inputs):
            if other is v:
                return self.given[i]
        return v.constant

    def array(self, place: Place) -> Array:
        """What lies at a place."""
        buffer = place.buffer
        if buffer.kind == "arena":
            start = self.address_of_arena + buffer.offset
        else:
            start = int(self.table[self._execution.program.buffers[buffer.kind, buffer.number]])
        return seen_at(start + place.offset, place.ghost)

    # For a call that goes on where the last one has ended

    def works_on(self, arrays: Sequence[Array]) -> bool:
        """Whether the last call has worked on these, which are the first inputs."""
        return all(
            entry is None or i >= len(arrays) or self.table[entry] == address(arrays[i])
            for i, entry in self._execution.arrays
        )

    def gives(self, number: int, array: Array) -> bool:
        """Whether the last call has given away this array as that result."""
        entry = self._slots[number]
        return entry is not None and int(self.table[entry]) == address(array)

    def memory(self, number: int) -> Any:
        """What views of the array of that result refer to."""
        entry = self._slots[number]
        return None if entry is None else self._pools[number].memory_at(int(self.table[entry]))

    def choice(self, number: int) -> tuple[int | None, _Pool]:
        """Where the address of that result stands, and arrays for it."""
        return self._slots[number], self._pools[number]

    def forget(self, inputs: Sequence[int]) -> None:
        """Expect other arrays in these places, whose addresses have been exchanged."""
        for i in inputs:
            self._seen[i] = _nothing

    @property
    def address_of_arena(self) -> int:
        """Where the arena begins."""
        return int(self.table[0])


def _nothing() -> None:
    """As a reference to what is gone."""


class _Pool:
    """Arrays of one result: one is used again when nobody outside has it any longer."""

    def __init__(self, place: Place) -> None:
        self._ghost = place.ghost
        self._known: list[_Given] = []

    def free(self, idle: Container[int] = ()) -> _Given:
        """An array that nobody else has, but for those in ``idle``, which one tensor may have."""
        for one in self._known:
            if one.is_free(idle):
                return one
        one = _Given(self._ghost)
        self._known.append(one)
        return one

    def memory_at(self, start: int) -> Any:
        """The memory of the array that begins there."""
        return next((one.memory for one in self._known if one.address == start), None)


class _Given:
    """An array that is given away, and what tells whether it is back."""

    __slots__ = ("_references", "address", "array", "memory")

    def __init__(self, ghost: Array) -> None:
        self.array = np.ndarray(ghost.shape, ghost.dtype, aligned(ghost.nbytes), 0, ghost.strides)
        self.memory: Any = self.array
        while isinstance(self.memory.base, np.ndarray):  # which views of the array refer to, and not to the array
            self.memory = self.memory.base
        self.address = address(self.array)
        self._references = sys.getrefcount(self.memory)

    def is_free(self, idle: Container[int]) -> bool:
        """Whether nobody has the array, or a view of it."""
        tensors = id(self.array) in idle
        return sys.getrefcount(self.memory) <= self._references and sys.getrefcount(self.array) <= _OWN + tensors


class _Compiled:
    """A part of the program in C."""

    def __init__(self, library: Any, name: str, program: Program) -> None:
        self._checks = program.checks
        self._function = getattr(library, name)
        self._function.argtypes, self._function.restype = [ctypes.c_void_p, ctypes.c_void_p], ctypes.c_int

    def __call__(self, frame: Frame) -> None:
        code = self._function(frame.table_pointer, frame.numbers_pointer)
        if code:
            node = self._checks[code - 1]
            if node.op.name == "check":
                node.op.run(False, **node.params)  # says what is doubted
            raise Stopped(node)


class _Host:
    """An operation that NumPy or Python runs."""

    def __init__(self, step: Step, program: Program) -> None:
        node = step.unit.root
        assert node is not None
        self._node = node
        self._places = step.places
        self._run = on_arrays(node.op)
        for place in step.places.values():  # they are looked up in the table
            if place.buffer.kind != "arena":
                program.buffers.setdefault((place.buffer.kind, place.buffer.number), len(program.buffers) + 1)

    def __call__(self, frame: Frame) -> None:
        node = self._node
        given = [self._given(frame, v) for v in node.inputs]
        lifted = {name: frame.number(v) for name, v in node.lifted.items()}
        results = self._run(*given, **node.params, **lifted)
        for v, result in zip(node.outputs, results if node.several else (results,), strict=True):
            if v.aval is None:
                frame.objects[v] = result
            else:
                np.copyto(frame.array(self._places[v]), result)

    def _given(self, frame: Frame, v: Value) -> Any:
        return frame.number(v) if v.aval is None else frame.array(self._places[v])


def viewed(v: Value, array: Array) -> Array:
    """The view ``v`` of the array of its base."""
    if v.node is None or v.node.op.kind != "view":
        return array
    source = viewed(v.node.inputs[0], array)
    return np.asarray(v.node.op.run(np, source, **v.node.params))


def seen_at(start: int, ghost: Array) -> Array:
    """An array at an address that lies as ``ghost``."""
    steps = [(n - 1) * s for n, s in zip(ghost.shape, ghost.strides, strict=True)] if ghost.size else []
    low, high = sum(s for s in steps if s < 0), sum(s for s in steps if s > 0)
    memory = (ctypes.c_char * (high - low + ghost.itemsize)).from_address(start + low)
    return np.ndarray(ghost.shape, ghost.dtype, memory, -low, ghost.strides)


def _give_back_what_is_free() -> None:
    """Let the system have the memory of arrays that are gone, which glibc keeps: an eager call before has left much of it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))


def aligned(size: int) -> Array:
    """Bytes whose first is at the beginning of a line of the cache."""
    memory = np.empty(size + ALIGNED, np.uint8)
    start = -address(memory) % ALIGNED
    return memory[start : start + size]
