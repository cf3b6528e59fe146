"""Copies: joining arrays, and writing into a part of one."""

from __future__ import annotations

import numpy as np

from torchlite.compiler.graph import Node, Value
from torchlite.compiler.program.expressions import c_type
from torchlite.compiler.program.loops import function
from torchlite.compiler.program.lowering import Lowering, Plain
from torchlite.compiler.program.places import Array, Order, Place
from torchlite.compiler.program.units import Loop
from torchlite.compiler.program.writer import Writer
from torchlite.ir import REGISTRY


def lowered(node: Node) -> Lowering | None:
    """How ``cat``, ``view_scatter`` and ``embed_view`` become C."""
    if any(c_type(v) is None for v in (*node.inputs, *node.outputs)):
        return None
    dtypes = {v.aval.dtype for v in (*node.inputs, *node.outputs) if v.aval is not None}
    return _LOWERINGS[node.op.name] if len(dtypes) == 1 else None


class _Copies(Plain):
    """A result whose parts are copied one after the other."""

    def wanted(self, node: Node, orders: list[Order | None]) -> list[Order | None]:  # noqa: ARG002
        """Any strides."""
        return [None for _ in node.inputs]


class _Cat(_Copies):
    def write(self, node: Node, writer: Writer) -> None:
        """Copy each array to its place."""
        target = writer.step.places[node.outputs[0]]
        dim, start = node.params["dim"], 0
        for v in node.inputs:
            assert v.aval is not None
            stop = start + v.aval.shape[dim]
            part = target.seen(target.ghost[(slice(None),) * dim + (slice(start, stop),)])
            source = writer.step.places[v]
            if not source.is_at(part):  # else it has been written there
                copy(writer, v, source, part)
            start = stop


class _Scatter(_Copies):
    def write(self, node: Node, writer: Writer) -> None:
        """Copy the base, and then the values into the view of it."""
        whole, values = node.inputs
        target = writer.step.places[node.outputs[0]]
        copy(writer, whole, writer.step.places[whole], target)
        copy(writer, values, writer.step.places[values], target.seen(_viewed(target.ghost, node.params["recipe"])))


class _Embed(_Copies):
    def write(self, node: Node, writer: Writer) -> None:
        """Zeros, and then the values in the view of them."""
        (values,) = node.inputs
        target = writer.step.places[node.outputs[0]]
        writer.statement(f"memset({writer.address(target)}, 0, {target.ghost.nbytes});")
        copy(writer, values, writer.step.places[values], target.seen(_viewed(target.ghost, _recipe(node))))


def copy(writer: Writer, v: Value, source: Place, target: Place) -> None:
    """Copy an array from one place to another of the same shape."""
    if not target.ghost.size:
        return
    out = Value(v.aval)
    node = Node(REGISTRY["clone"], (v,), {"order": None}, (out,))
    loop = Loop((target.ghost.shape,), (node,))
    writer.call(function(loop, source.order, {v: source, out: target}, {out}))


def _viewed(ghost: Array, recipe: object) -> Array:
    for op, params in recipe:  # type: ignore[attr-defined]
        ghost = op.run(np, ghost, **params)
    return ghost


def _recipe(node: Node) -> object:
    params = dict(node.params)
    return params["recipe"]


_LOWERINGS: dict[str, Lowering] = {"cat": _Cat(), "view_scatter": _Scatter(), "embed_view": _Embed()}
