"""Products of bfloat16 matrices in a program, with sums in float32 that are rounded once, after a bias."""

from __future__ import annotations

import numpy as np

from torchlite.backends.native import bfloat16
from torchlite.compiler.graph import Node
from torchlite.compiler.program.lowering import Lowering, Order, Plain
from torchlite.compiler.program.places import Array, Place
from torchlite.compiler.program.tiles import continuation
from torchlite.compiler.program.units import Unit
from torchlite.compiler.program.writer import Writer


def lowered(node: Node) -> Lowering | None:
    """How ``linear`` and ``matmul`` of bfloat16 become C; None for batches in more than two dimensions, and nothing."""
    arrays = [v.aval for v in (*node.inputs, *node.outputs)]
    if any(a is None or a.dtype != bfloat16.BFLOAT16 or a.ndim > 4 or not a.size for a in arrays):
        return None
    return _PRODUCT


class _Product(Plain):
    headers: tuple[str, ...] = ("bfloat16.h",)

    def continues(self, node: Node) -> bool:  # noqa: ARG002
        """Always."""
        return True

    def wanted(self, node: Node, orders: list[Order | None]) -> list[Order | None]:  # noqa: ARG002
        """Any strides."""
        return [None for _ in node.inputs]

    def scratch(self, node: Node) -> int:
        """Packed operands, of which the left one may also be taken as it lies."""
        x, y = (np.empty(v.aval.shape[::-1], bfloat16.BFLOAT16).T for v in node.inputs[:2] if v.aval is not None)
        left, right = _operands(node, x, y)
        dense = np.empty(left.shape, left.dtype)
        return max(int(bfloat16.C.scratch(bfloat16.geometry(a, right))) for a in (left, dense))

    def write(self, unit: Unit, writer: Writer) -> None:
        """Describe the product and compute it."""
        node = unit.root
        assert node is not None
        x, y, *bias = (writer.step.places[v] for v in node.inputs)
        (loop,) = unit.loops
        made = continuation(loop, writer.step.places, writer.layout.stored, bias[0] if bias else None)
        finish = writer.loops.setdefault(made.text, f"finish{len(writer.loops)}")
        left, right = _operands(node, x.ghost, y.ghost)
        operands = _operand(writer, x, bfloat16.steps(left, 2, 3)), _operand(writer, y, bfloat16.steps(right, 3, 2))
        sizes = ", ".join(map(str, bfloat16.sizes(left, right)))
        context = f"(void *[]){{{', '.join(writer.address(place) for place in made.at)}}}"
        writer.statement(
            f"bf16_product(&(Bf16Product){{{operands[0]}, {operands[1]}, {sizes}, {finish}, {context}, {writer.scratch()}}});"
        )


def _operands(node: Node, x: Array, y: Array) -> tuple[Array, Array]:
    """Both as (outer, inner, rows, columns), broadcast against each other."""
    if node.op.name == "linear":
        y = y.T
    batch = np.broadcast_shapes((1, 1), x.shape[:-2], y.shape[:-2])
    return np.broadcast_to(x, batch + x.shape[-2:]), np.broadcast_to(y, batch + y.shape[-2:])


def _operand(writer: Writer, place: Place, steps: list[int]) -> str:
    return f"{{{writer.address(place)}, {', '.join(map(str, steps))}}}"


_PRODUCT = _Product()
