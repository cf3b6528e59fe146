"""What a kernel is called with: arrays and results, and what they are called in its text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from torchlite.backends.memory import dense_strides
from torchlite.compiler.cuda.layouts import Strides, broadcast, reading
from torchlite.compiler.cuda.regions import Region
from torchlite.compiler.cuda.scalars import computed_type, loaded, number, passed, stored_type
from torchlite.compiler.graph import Node, Value


@dataclass(eq=False)
class Arguments:
    """The arguments of a region's kernel.

    Attributes:
        region: the operations.
        results: what is computed.
        numbers: of what is read, those that are given as numbers of the host.
        sizes: lengths and strides that are given likewise, so that other shapes have the same text; None where they are in it.
        arrays: sources of all else that is read, each once.
        names: of all values in the text, as far as they have one.
    """

    region: Region
    results: Sequence[Value]
    numbers: Sequence[Value] = ()
    sizes: list[int] | None = None
    arrays: list[Value] = field(default_factory=list)
    names: dict[Value, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.names.update((v, f"n{i}") for i, v in enumerate(self.numbers))
        for v in self.region.reads:
            written = number(v)
            if written is not None:
                self.names.setdefault(v, written)
            elif v not in self.names and reading(v).source not in self.arrays:
                self.arrays.append(reading(v).source)
        for i, node in enumerate(self.region.nodes):
            self.names[node.outputs[0]] = f"v{i}"
        for view in self.region.views:
            self.names[view.outputs[0]] = self.names[view.inputs[0]]

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The inputs of the fused operation."""
        return tuple(self.arrays)

    def pointer(self, v: Value) -> str:
        """The name of the pointer to an array that is read, or to a result."""
        pointers = [*self.arrays, *self.results]
        return f"p{pointers.index(v)}"

    def declared(self) -> list[str]:
        """The parameters of the kernel in C++, in the order of the arguments."""
        return [
            *(f"const {stored_type(v)} *__restrict__ {self.pointer(v)}" for v in self.arrays),
            *(f"{stored_type(v)} *__restrict__ {self.pointer(v)}" for v in self.results),
        ]

    def declared_numbers(self) -> list[str]:
        """Those that follow the arrays, once the text is written."""
        return [
            *(f"const {computed_type(v)} {self.names[v]}" for v in self.numbers),
            *(f"const Index s{i}" for i in range(len(self.sizes or ()))),
        ]

    def given(self) -> list[Any]:
        """The numbers that are passed for them."""
        return [*map(passed, self.numbers), *map(np.uint32, self.sizes or ())]

    def size(self, n: int) -> str:
        """The text of a length, a stride or a count that shapes decide."""
        if self.sizes is None:
            return str(n)
        self.sizes.append(n)
        return f"s{len(self.sizes) - 1}"

    def read_from_memory(self, v: Value) -> bool:
        """Whether a value is an element of an array from outside, and not computed or a constant."""
        return v not in self.names

    def strides(self, v: Value) -> Strides:
        """Of a value from outside, along the shape of the loop."""
        assert v.aval is not None
        return broadcast(v.aval.shape, reading(v).strides, self.region.shape)

    def kept_strides(self, v: Value) -> Strides:
        """Of a value from outside that has one number for each kept place: along the loop, as if repeated."""
        assert v.aval is not None
        shape = self.region.shape
        if v.aval.size == 1:
            return (0,) * len(shape)
        steps = iter(step for n, step in zip(v.aval.shape, reading(v).strides, strict=True) if n != 1)
        return tuple(0 if n == 1 or d in self.region.dims else next(steps) for d, n in enumerate(shape))

    def load(self, v: Value, name: str, place: str) -> str:
        """The statement that reads an element."""
        element = loaded(v, f"{self.pointer(reading(v).source)}[{place}]")
        return f"const {computed_type(v)} {name} = {element};"


def needed(nodes: Sequence[Node], wanted: Sequence[Value], views: Sequence[Node]) -> list[Node]:
    """Those of ``nodes`` that ``wanted`` is computed with, in order."""
    seen_through = {view.outputs[0]: view.inputs[0] for view in views}
    missing: set[Value] = set()

    def want(v: Value) -> None:
        while v in seen_through:
            v = seen_through[v]
        missing.add(v)

    for v in wanted:
        want(v)
    found: list[Node] = []
    for node in reversed(nodes):
        if node.outputs[0] in missing:
            found.append(node)
            for v in node.inputs:
                want(v)
    return found[::-1]


def row_major(region: Region) -> Strides:
    """The strides of a result that has the whole shape."""
    return dense_strides(region.shape)
