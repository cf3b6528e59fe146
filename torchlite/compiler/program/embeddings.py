"""Rows of a table by their numbers, and the gradient of the table."""

from __future__ import annotations

import math

import numpy as np

from torchlite.compiler.graph import Node, Value
from torchlite.compiler.program.kernels import Kernel, of_float32, struct
from torchlite.compiler.program.lowering import Lowering
from torchlite.compiler.program.units import flat
from torchlite.compiler.program.writer import Writer


def lowered(node: Node) -> Lowering | None:
    """How an operation becomes C; None unless one tensor of integers indexes the first dimension of float32."""
    (values, *numbers), spec = node.inputs, node.params["spec"]
    one = len(numbers) == 1 and numbers[0].aval is not None and numbers[0].aval.dtype == np.int64
    plain = one and spec[0] == "tensor" and values.aval is not None and values.aval.dtype == np.float32
    return _LOWERINGS[node.op.name] if plain and of_float32(node) else None


class _Rows(Kernel):
    headers: tuple[str, ...] = ("embeddings.h",)
    fails = True

    def condition(self, node: Node) -> object:
        """That all numbers are those of rows: the gradient's hold where those of the rows have held."""
        return flat(node.inputs[1]), _table(node).shape[0]

    def statement(self, node: Node, writer: Writer) -> str:
        values, numbers = node.inputs
        (out,) = node.outputs
        rows, *inner = _table(node).shape
        sizes = {"count": str(math.prod(numbers.shape)), "rows": str(rows), "width": str(math.prod(inner))}
        e = struct(writer, "(Embedding)", {"from": values, "numbers": numbers, "to": out, **sizes})
        call = "embedding" if node.op.name == "index" else "embedding_grad"
        return f"{{ Embedding e = {e}; if (!all_rows_exist(&e)) return {writer.failing(node)}; {call}(&e); }}"


def _table(node: Node) -> Value:
    """What has the rows: it is read, or its gradient is added up."""
    return node.inputs[0] if node.op.name == "index" else node.outputs[0]


_LOWERINGS: dict[str, Lowering] = {"index": _Rows(), "index_add": _Rows()}
