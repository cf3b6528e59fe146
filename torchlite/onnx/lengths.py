"""What in a graph follows from a length that may vary: found by comparing captures with two such lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from torchlite.compiler.graph import Graph, Node, Value


class Length(NamedTuple):
    """The length ``factor`` · n + ``rest`` of a dimension, where n varies."""

    factor: int
    rest: int


Dim = int | Length


@dataclass
class Varying:
    """What of a graph varies.

    Attributes:
        shapes: of the values that have a varying length.
        params: of the operations that have one.
        constants: of constants that have one, the same without it: they are repeated along it.
    """

    shapes: dict[Value, tuple[Dim, ...]] = field(default_factory=dict)
    params: dict[Node, dict[str, Any]] = field(default_factory=dict)
    constants: dict[Value, Any] = field(default_factory=dict)


class Differs(Exception):
    """The captures differ in more than lengths; the message says where."""


def compare(one: Graph, other: Graph, lengths: tuple[int, int]) -> Varying:
    """What differs between captures with these lengths.

    Raises:
        Differs: where that is no length that grows in proportion.
    """
    return _Comparison(lengths).of(one, other)


class _Comparison:
    def __init__(self, lengths: tuple[int, int]) -> None:
        self.lengths = lengths
        self.found = Varying()
        self.same: dict[Value, Value] = {}

    def of(self, one: Graph, other: Graph) -> Varying:
        for a, b in zip(one.inputs, other.inputs, strict=True):
            self.value(a, b)
        if len(one.nodes) != len(other.nodes):
            raise Differs(f"there are {len(one.nodes)} and {len(other.nodes)} operations")
        for node, like in zip(one.nodes, other.nodes, strict=True):
            self.node(node, like)
        for v, w in zip(one.outputs, other.outputs, strict=True):
            self.read(v, w, "a result")
        return self.found

    def node(self, a: Node, b: Node) -> None:
        where = f"{a.op.name} of {a.line}"
        if a.op is not b.op or len(a.inputs) != len(b.inputs) or a.params.keys() != b.params.keys():
            raise Differs(f"{where} is {b.op.name} with the other")
        for v, w in zip(a.inputs, b.inputs, strict=True):
            self.read(v, w, where)
        params = {key: self.param(value, b.params[key], f"{where}, {key}") for key, value in a.params.items()}
        if any(_varies(value) for value in params.values()):
            self.found.params[a] = params
        for v, w in zip(a.outputs, b.outputs, strict=True):
            self.value(v, w)

    def read(self, v: Value, w: Value, where: str) -> None:
        if v in self.same:
            if self.same[v] is not w:
                raise Differs(f"{where} reads something else")
            return
        if v.constant is None or w.constant is None:
            raise Differs(f"{where} reads something else")
        self.value(v, w)
        if v.aval is None or v not in self.found.shapes:
            if not _equal(v.constant, w.constant):
                raise Differs(f"{where} reads a constant that depends on the length")
            return
        self.found.constants[v] = _without(v.constant, w.constant, where)

    def value(self, v: Value, w: Value) -> None:
        self.same[v] = w
        if v.aval is not None and w.aval is not None and v.aval.shape != w.aval.shape:
            self.found.shapes[v] = self.param(v.aval.shape, w.aval.shape, f"the shape {v.aval.shape}")

    def param(self, a: Any, b: Any, where: str) -> Any:
        if type(a) is int and type(b) is int and a != b:
            return self.length(a, b, where)
        if type(a) is tuple and type(b) is tuple and len(a) == len(b):
            return tuple(self.param(x, y, where) for x, y in zip(a, b, strict=True))
        if type(a) is slice and type(b) is slice:
            return slice(*(self.param(getattr(a, k), getattr(b, k), where) for k in ("start", "stop", "step")))
        if not _equal(a, b):
            raise Differs(f"{where} is {a} and {b}")
        return a

    def length(self, a: int, b: int, where: str) -> Length:
        n, m = self.lengths
        factor, left = divmod(b - a, m - n)
        if left:
            raise Differs(f"{where} is {a} for a length of {n} and {b} for {m}")
        return Length(factor, a - factor * n)


def _varies(value: Any) -> bool:
    if isinstance(value, Length):
        return True
    if isinstance(value, slice):
        return any(_varies(x) for x in (value.start, value.stop, value.step))
    return isinstance(value, tuple) and any(map(_varies, value))


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.array_equal(a, b, equal_nan=getattr(a, "dtype", np.dtype(bool)).kind in "fc")
    if hasattr(a, "__dict__") and type(a) is type(b):
        return vars(a).keys() == vars(b).keys() and all(_equal(x, vars(b)[key]) for key, x in vars(a).items())
    return bool(a == b)


def _without(a: Any, b: Any, where: str) -> Any:
    """A constant that is the same all along its varying lengths, with length 1 there."""
    part = tuple(slice(None) if n == m else slice(0, 1) for n, m in zip(a.shape, b.shape, strict=True))
    for array in (a, b):
        if not _equal(array, np.broadcast_to(array[part], array.shape)):
            raise Differs(f"{where} reads a constant with other numbers for each length")
    return a[part]


def concrete(dims: Sequence[Dim]) -> bool:
    """Whether no length varies."""
    return not any(isinstance(n, Length) for n in dims)
