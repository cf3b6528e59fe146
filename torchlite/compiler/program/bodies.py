"""What a loop does with one element, as C: which arrays are read and written, along which dimensions, and what is computed."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.lib.stride_tricks import as_strided

from torchlite.compiler.graph import Value
from torchlite.compiler.program.expressions import c_type, expression, literal, number_type
from torchlite.compiler.program.places import Array, Order, Place
from torchlite.compiler.program.reductions import Reduction, reduction
from torchlite.compiler.program.units import Loop, flat, refinement
from torchlite.ir import Shape


@dataclass(frozen=True, eq=False)
class Stream:
    """An array that a loop reads or writes: where it lies, with which strides along the loop's dimensions, and its type in C."""

    place: Place
    strides: tuple[int, ...]
    kind: str


@dataclass(frozen=True, eq=False)
class Reduced:
    """A reduction in a loop: its rule, what it takes of each element, and where the result goes."""

    how: Reduction
    element: str
    target: Stream


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and 1 / sqrt(variance + eps) that are taken in a loop: of which element, and where they go."""

    element: str
    mean: Stream
    scale: Stream
    eps: float


class Dimensions:
    """What a loop goes through: the dimensions that all its shapes have in common, in the order of memory.

    Args:
        loop: its shapes.
        order: of the memory.
        whole: the one shape that all are to be seen under, dimensions of one element included.
    """

    def __init__(self, loop: Loop, order: Order | None, whole: Shape | None = None) -> None:
        shape = refinement(*loop.shapes) if whole is None else whole
        assert shape is not None
        self.shape: Shape = shape
        self.order = order if order is not None and len(order) == len(shape) else tuple(range(len(shape)))
        self.lengths = tuple(shape[d] for d in self.order)

    def strides(self, ghost: Array, shape: Shape) -> tuple[int, ...]:
        """Those of an array that is broadcast to one of the loop's shapes."""
        if ghost.size == 1:
            return (0,) * len(self.shape)
        seen = ghost if ghost.shape == shape else np.broadcast_to(ghost, shape)
        seen = seen if shape == self.shape else seen.reshape(self.shape, copy=False)
        return tuple(seen.strides[d] // seen.itemsize if self.shape[d] > 1 else 0 for d in self.order)

    def reduced(self, dims: Sequence[int], shape: Shape) -> tuple[bool, ...]:
        """Which of them belong to the dimensions ``dims`` of one of the loop's shapes."""
        steps = [int(d in dims) for d in range(len(shape))]
        seen = as_strided(np.empty(1, np.int8), shape, steps).reshape(self.shape, copy=False)
        return tuple(bool(seen.strides[d]) and self.shape[d] > 1 for d in self.order)


@dataclass(eq=False)
class Body:
    """The C of one element.

    Attributes:
        reads: streams with the names of their elements.
        lines: what is computed.
        stores: streams with the names of what is written to them.
        reductions: of what is read or computed.
        moments: of the same.
    """

    reads: list[tuple[Stream, str]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    stores: list[tuple[Stream, str]] = field(default_factory=list)
    reductions: list[Reduced] = field(default_factory=list)
    moments: list[Moments] = field(default_factory=list)

    def streams(self) -> list[Stream]:
        """All that are read or written for each element."""
        return [s for s, _ in (*self.reads, *self.stores)]

    def results(self) -> list[Stream]:
        """Where reductions go."""
        return [r.target for r in self.reductions] + [s for m in self.moments for s in (m.mean, m.scale)]


def body(loop: Loop, dimensions: Dimensions, places: Mapping[Value, Place], stored: Container[Value]) -> Body:
    """The C of one element of a loop.

    Args:
        loop: with at least one operation.
        dimensions: that it goes through.
        places: of all arrays that are read or written.
        stored: the values that are needed elsewhere.
    """
    made = Body()
    names: dict[Value, str] = {} if loop.follows is None else {loop.follows: "acc"}
    seen: dict[tuple[Value, tuple[int, ...]], str] = {}

    def name(v: Value, shape: Shape) -> str:
        if flat(v) in names:
            return names[flat(v)]
        assert v.aval is not None
        if v.constant is not None and v.aval.size == 1:
            return literal(v.constant.item(), np.dtype(v.aval.dtype))
        stream = Stream(places[v], dimensions.strides(places[v].ghost, shape), c_type(v) or "")
        key = (v, stream.strides)
        if key not in seen:
            seen[key] = f"x{len(made.reads)}"
            made.reads.append((stream, seen[key]))
        return seen[key]

    if loop.follows is not None and loop.follows in stored:
        made.stores.append((_written(loop.follows, dimensions, places), "acc"))
    for i, node in enumerate(loop.nodes):
        out = node.outputs[0]
        assert out.aval is not None
        how = expression(node)
        assert how is not None
        made.lines.append(f"const {number_type(out)} v{i} = {how([name(v, out.aval.shape) for v in node.inputs])};")
        names[out] = f"v{i}"
        if out in stored:
            made.stores.append((_written(out, dimensions, places), f"v{i}"))
    for node in loop.reductions:
        shape = node.inputs[0].shape
        if node.op.name == "moments":
            mean, scale = (_result(v, node.params["dims"], shape, dimensions, places) for v in node.outputs)
            made.moments.append(Moments(name(node.inputs[0], shape), mean, scale, node.params["eps"]))
            continue
        rule = reduction(node)
        assert rule is not None
        given = [name(v, shape) for v in node.inputs]
        element = rule.element.replace("x", "\0").replace("y", given[-1]).replace("\0", given[0])
        made.reductions.append(Reduced(rule, element, _result(node.outputs[0], rule.dims, shape, dimensions, places)))
    return made


def _written(v: Value, dimensions: Dimensions, places: Mapping[Value, Place]) -> Stream:
    assert v.aval is not None
    return Stream(places[v], dimensions.strides(places[v].ghost, v.aval.shape), c_type(v) or "")


def _result(
    v: Value, dims: Sequence[int], shape: Shape, dimensions: Dimensions, places: Mapping[Value, Place]
) -> Stream:
    kept = tuple(1 if d in dims else n for d, n in enumerate(shape))
    ghost = places[v].ghost.reshape(kept, copy=False)
    return Stream(places[v], dimensions.strides(ghost, shape), c_type(v) or "")
