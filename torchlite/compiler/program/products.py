"""Products of matrices in a program: operands where and as they lie, and what follows done to each finished tile."""

from __future__ import annotations

import math

import numpy as np

from torchlite.backends.native.products import depth, numbers
from torchlite.compiler.graph import Node, Value
from torchlite.compiler.program.lowering import Lowering, Order, Plain
from torchlite.compiler.program.places import Place
from torchlite.compiler.program.tiles import continuation
from torchlite.compiler.program.units import Unit
from torchlite.compiler.program.writer import Writer
from torchlite.ir import Shape


def lowered(node: Node) -> Lowering | None:
    """How ``linear`` and ``matmul`` of float32 become C; None for other types, and for batches in more than two dimensions."""
    arrays = [v.aval for v in (*node.inputs, *node.outputs)]
    if any(a is None or a.dtype != np.float32 or a.ndim > 4 for a in arrays):
        return None
    return _PRODUCT


class _Product(Plain):
    headers: tuple[str, ...] = ("gemm.h",)

    def continues(self, node: Node) -> bool:  # noqa: ARG002
        """Always."""
        return True

    def wanted(self, node: Node, orders: list[Order | None]) -> list[Order | None]:  # noqa: ARG002
        """Any strides."""
        return [None for _ in node.inputs]

    def scratch(self, node: Node) -> int:
        """The sums of each part of a long inner dimension."""
        out, k = _shape(node.outputs[0]), _shape(node.inputs[0])[-1]
        part = depth(out[-2], out[-1], k, math.prod(out[:-2]))
        return 4 * math.prod(out) * -(-k // part) if part < k else 0

    def write(self, unit: Unit, writer: Writer) -> None:
        """Describe the product and compute it."""
        node = unit.root
        assert node is not None
        x, y, *bias = (writer.step.places[v] for v in node.inputs)
        if node.op.name == "linear":
            y = y.seen(y.ghost.T)
        (loop,) = unit.loops
        made = continuation(loop, writer.step.places, writer.layout.stored, bias[0] if bias else None)
        name = writer.loop(made.text)
        sizes = ", ".join(map(str, numbers(x.ghost.shape, x.ghost.strides, y.ghost.shape, y.ghost.strides)))
        scratch = f"(float *)({writer.scratch()})" if writer.step.scratch else "NULL"
        context = f"(void *[]){{{', '.join(writer.address(place) for place in made.at)}}}"
        writer.statement(
            f"multiply_matrices(&(Product){{{_floats(writer, x)}, {_floats(writer, y)}, {sizes}, {scratch}, {name}, {context}}});"
        )


def _floats(writer: Writer, place: Place) -> str:
    return f"(const float *)({writer.address(place)})"


def _shape(v: Value) -> Shape:
    assert v.aval is not None
    return v.aval.shape


_PRODUCT = _Product()
