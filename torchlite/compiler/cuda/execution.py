"""A program on a GPU, part by part: launched operation by operation, or recorded once and launched as a whole."""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Sequence
from typing import Any

import numpy as np

from torchlite.backends import cupy, is_array
from torchlite.compiler.cuda.launch import Kernel
from torchlite.compiler.cuda.parts import Part
from torchlite.compiler.cuda.slots import Slots, fits
from torchlite.compiler.cuda.tables import TableKernel
from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.ownership import owner, owners_of_constants, taken
from torchlite.compiler.program.interface import Interface
from torchlite.ir import Aval

Values = dict[Value, Any]
WORD = Aval((), np.dtype(np.uint64))


class Stage:
    """A part of a program, and how it is called."""

    def __init__(self, name: str, part: Part) -> None:
        self.part = part
        self.graph = part.graph(name)
        self.function = self.graph.function()
        self.numbers = part.numbers()
        singles = [(node, fits(_aval(node.outputs[0]))) for node in part.arrivals]
        self.singles = [node for node, single in singles if single]
        self.others = [node for node, single in singles if not single]

    def slots(self) -> Slots:
        """Places for the numbers that a GPU reads: those that are arrays, then those that a recorded part reads."""
        return Slots([*(_aval(node.outputs[0]) for node in self.singles), *(WORD for _ in self.numbers)])


class Execution:
    """A program on a GPU.

    Args:
        graph: with fused operations.
        parts: of it.
        interface: how it is called.
        source: of its kernels.
    """

    def __init__(self, graph: Graph, parts: Sequence[Part], interface: Interface, source: str) -> None:
        self.graph, self.interface, self.source = graph, interface, source
        self.stages = [Stage(f"{graph.name}_{i}", part) for i, part in enumerate(parts)]
        self.device = next(part.device for part in parts if part.device is not None)
        self.constants = owners_of_constants(graph)
        self._doubtful = _doubtful(graph, interface.leaving)
        self._lock = threading.Lock()
        self._slots: dict[Stage, Slots] = {}
        self._stream: int | None = None

    def __call__(self, given: Sequence[Any], idle: Container[int] = ()) -> Sequence[Any]:  # noqa: ARG002
        """As `Replay`."""
        with np.errstate(all="ignore"), cupy().cuda.Device(self.device.index):
            return self.launched(given)

    def launched(self, given: Sequence[Any]) -> Sequence[Any]:
        """The outputs, operation by operation."""
        values: Values = dict(zip(self.graph.inputs, given, strict=True))
        mine = self._lock.acquire(blocking=False)
        try:
            stream = cupy().cuda.get_current_stream().ptr
            if not mine or stream != self._stream:  # what is still to run there may read these numbers
                self._stream = stream if mine else self._stream
                slots = {stage: stage.slots() for stage in self.stages if stage.part.device is not None}
                self._slots = slots if mine else self._slots
            else:
                slots = self._slots
            self.through(values, slots, self._launch)
        finally:
            if mine:
                self._lock.release()
        return self.finished(values, given)

    def through(self, values: Values, slots: dict[Stage, Slots], run: Callable[[Stage, Values], None]) -> None:
        """Run all parts; ``run`` runs those of the GPU, when all that they read lies there."""
        for stage in self.stages:
            if stage.part.device is None:
                results = stage.function(*(values[v] for v in stage.part.inputs))
                values.update(zip(stage.part.outputs, results, strict=True))
                continue
            arrive(stage, values, slots[stage])
            run(stage, values)

    def finished(self, values: Values, given: Sequence[Any]) -> list[Any]:
        """The outputs: those that leave have memory of their own."""
        leaving = self.interface.leaving
        outputs = [values.get(v, v.constant) for v in self.graph.outputs]
        slots = {id(owner(one.arrays[0])) for one in self._slots.values() if one.arrays}
        for i in range(leaving, len(outputs)):
            if outputs[i] is not None and is_array(outputs[i]) and id(owner(outputs[i])) in slots:
                outputs[i] = outputs[i].copy()
        if self._doubtful:
            owners = {id(owner(a)) for a in given if is_array(a)} | self.constants | slots
            for i in self._doubtful:
                outputs[i] = taken(outputs[i], owners)
        return outputs

    def lying(self, outputs: Sequence[int]) -> list[Any]:
        """Nothing is known."""
        return [None for _ in outputs]

    def _launch(self, stage: Stage, values: Values) -> None:
        part = stage.part
        arrived = [values[node.outputs[0]] for node in part.arrivals]
        results = stage.function(*(values[v] for v in part.inputs), *arrived)
        values.update(zip(part.outputs, results, strict=True))


def _doubtful(graph: Graph, leaving: int) -> list[int]:
    """Of the first outputs those that might lie in memory that something else has, or in which numbers repeat.

    All others are results of kernels and of libraries, whole or seen in another shape or order, of which nothing else leaves.
    """
    made = {v for node in graph.nodes if _makes(node) for v in node.outputs}
    seen_from = {node.outputs[0]: node.inputs[0] for node in graph.nodes if node.op.name in ("view", "permute")}
    roots = []
    for v in graph.outputs[:leaving]:
        while v in seen_from:
            v = seen_from[v]
        roots.append(v)
    return [i for i, v in enumerate(roots) if v not in made or roots.count(v) > 1]


def _makes(node: Node) -> bool:
    """Whether an operation of a GPU writes its results into memory that it takes for them."""
    return isinstance(node.op.run, (Kernel, TableKernel)) or (node.device.type == "cuda" and node.op.name in _FRESH)


def arrive(stage: Stage, values: Values, slots: Slots) -> None:
    """Store on the GPU what a part there reads of the host; arrays are put where ``values`` has some for them."""
    if slots.arrays:
        numbers = [values[node.inputs[0]] for node in stage.singles]
        words = [values[v] & _MASK for v in stage.numbers]
        slots.store([*numbers, *words])
        values.update((node.outputs[0], array) for node, array in zip(stage.singles, slots.arrays, strict=False))
    for node in stage.others:
        (v,), (source,) = node.outputs, node.inputs
        if v in values:
            values[v].set(values[source])
        else:
            values[v] = cupy().asarray(values[source])


def _aval(v: Value) -> Aval:
    assert v.aval is not None
    return v.aval


_FRESH = {"matmul", "linear", "convolution", "convolution_input_grad", "convolution_weight_grad", "index_add"}
_MASK = (1 << 64) - 1
