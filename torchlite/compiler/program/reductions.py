"""Reductions as C: where an accumulator begins, how it takes an element, and what becomes of it in the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from torchlite.compiler.graph import Node
from torchlite.compiler.passes.moments import CHANNELS
from torchlite.compiler.program.expressions import c_type, number_type


@dataclass(frozen=True)
class Reduction:
    """One kind of reduction.

    Attributes:
        dims: that are reduced.
        kind: the type of an accumulator in C.
        start: what an accumulator begins with.
        element: what it takes, in terms of the inputs x and y.
        operator: by which it takes that, for numbers and for accumulators: + or & or |.
        finish: the result, in terms of the accumulator a.
    """

    dims: tuple[int, ...]
    kind: str
    start: str
    element: str
    operator: str
    finish: str


def reduction(node: Node) -> Reduction | None:
    """How an operation reduces; None where it is no reduction that C is written for."""
    if node.several or node.lifted or node.op.name not in _RULES:
        return None
    types = [c_type(v) for v in (*node.inputs, *node.outputs)]
    if None in types or any(v.aval is None or not v.aval.size for v in node.inputs):
        return None
    return _RULES[node.op.name](node, node.inputs[0].aval, node.outputs[0].aval)


def kept_dimension(node: Node) -> int | None:
    """The one dimension of an array for whose elements it adds up all others, in float32, or takes moments of images' channels."""
    x, out = node.inputs[0].aval if node.inputs else None, node.outputs[0].aval
    if x is None or out is None or out.dtype != np.float32:
        return None
    if node.op.name == "moments":
        return 1 if tuple(node.params["dims"]) == CHANNELS and x.ndim == 4 else None
    rule = reduction(node)
    if rule is None or rule.operator != "+":
        return None
    kept = set(range(x.ndim)).difference(rule.dims)
    return kept.pop() if len(kept) == 1 else None


def _added(node: Node, x: Any, out: Any, finish: str = "a") -> Reduction | None:
    kind = number_type(node.outputs[0])
    if x.dtype.kind == "f" and x.dtype != out.dtype:
        return None
    return Reduction(tuple(node.params["dims"]), kind or "", "0", "x", "+", finish)


def _mean(node: Node, x: Any, out: Any) -> Reduction | None:
    if number_type(node.inputs[0]) not in ("float", "double"):
        return None
    count = x.size // max(out.size, 1)
    return _added(node, x, out, f"a / {count}")


def _products(node: Node, x: Any, out: Any) -> Reduction | None:
    shape = (1,) * (x.ndim - len(out.shape)) + out.shape
    if any(v.aval is None or (v.aval.dtype != np.float32 and v.aval.dtype != np.float64) for v in node.inputs):
        return None
    if node.inputs[1].aval is None or node.inputs[1].aval.shape != x.shape:
        return None
    dims = tuple(d for d in range(x.ndim) if shape[d] == 1 and x.shape[d] != 1)
    return Reduction(dims, c_type(node.outputs[0]) or "", "0", "x * y", "+", "a")


def _norm(node: Node, x: Any, out: Any) -> Reduction | None:
    if node.params["p"] != 2 or x.dtype != out.dtype or x.dtype.kind != "f":
        return None
    return Reduction(tuple(node.params["dims"]), c_type(node.outputs[0]) or "", "0", "x * x", "+", "sqrt(a)")


def _truth(start: str, operator: str) -> Any:
    def rule(node: Node, _x: Any, out: Any) -> Reduction | None:
        if out.dtype.kind != "b":
            return None
        return Reduction(tuple(node.params["dims"]), "unsigned char", start, "(x != 0)", operator, "a")

    return rule


_RULES: dict[str, Any] = {
    "sum": _added,
    "mean": _mean,
    "sum_of_products": _products,
    "vector_norm": _norm,
    "all": _truth("1", "&"),
    "any": _truth("0", "|"),
}
