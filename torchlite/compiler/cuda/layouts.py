"""How arrays are read through views: a transposed, reshaped or repeated array is read where it lies, not copied first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torchlite.backends.memory import dense_strides
from torchlite.compiler.graph import Value
from torchlite.ir import Shape

Strides = tuple[int, ...]


@dataclass(frozen=True)
class Reading:
    """A value's element i, j, … is number Σ stride · index of ``source``, an array without gaps in row-major order."""

    source: Value
    strides: Strides


def reading(v: Value) -> Reading:
    """How ``v`` is read from the first array of which it is a view, as far as strides can say it."""
    assert v.aval is not None
    shape, node = v.aval.shape, v.node
    itself = Reading(v, dense_strides(shape))
    if node is None or node.op.name not in ("view", "permute", "expand", "clone"):
        return itself
    (x,) = node.inputs
    assert x.aval is not None
    before, seen = x.aval.shape, reading(x)
    if node.op.name == "clone":
        return seen
    if node.op.name == "permute":
        return Reading(seen.source, tuple(seen.strides[d] for d in node.params["dims"]))
    if node.op.name == "expand":
        return Reading(seen.source, broadcast(before, seen.strides, shape))
    if all(n == 1 or a == b for n, a, b in zip(before, seen.strides, dense_strides(before), strict=True)):
        return Reading(seen.source, dense_strides(shape))
    return itself


def broadcast(shape: Shape, strides: Strides, to: Shape) -> Strides:
    """The strides with which an array of ``shape`` is read as one of shape ``to``."""
    lead = len(to) - len(shape)
    return (0,) * lead + tuple(0 if n == 1 else step for n, step in zip(shape, strides, strict=True))


def merged(shape: Shape, operands: Sequence[Strides]) -> tuple[Shape, list[Strides]]:
    """The same loop over the elements with as few dimensions as possible, for operands that are read by strides."""
    lengths: list[int] = []
    steps: list[list[int]] = [[] for _ in operands]
    for d, n in enumerate(shape):
        if n == 1:
            continue
        if lengths and all(s[-1] == strides[d] * n for s, strides in zip(steps, operands, strict=True)):
            lengths[-1] *= n
            for s, strides in zip(steps, operands, strict=True):
                s[-1] = strides[d]
        else:
            lengths.append(n)
            for s, strides in zip(steps, operands, strict=True):
                s.append(strides[d])
    return tuple(lengths), [tuple(s) for s in steps]
