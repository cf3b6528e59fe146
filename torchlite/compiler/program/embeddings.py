"""Rows of a table by their numbers, and the gradient of the table."""

from __future__ import annotations

import math

import numpy as np

from torchlite.backends.native.bfloat16 import BFLOAT16
from torchlite.compiler.graph import Node, Value
from torchlite.compiler.program.kernels import Kernel, of_float32, struct
from torchlite.compiler.program.lowering import Lowering
from torchlite.compiler.program.units import flat
from torchlite.compiler.program.writer import Writer


def lowered(node: Node) -> Lowering | None:
    """How an operation becomes C; None unless one tensor of integers indexes the first dimension of float32.

    Rows of an even number of bfloat16 are taken, too.
    """
    (values, *numbers), spec = node.inputs, node.params["spec"]
    one = len(numbers) == 1 and numbers[0].aval is not None and numbers[0].aval.dtype == np.int64
    if not one or spec[0] != "tensor" or values.aval is None:
        return None
    words = node.op.name == "index" and values.aval.dtype == BFLOAT16 and math.prod(values.shape[1:]) % 2 == 0
    return _LOWERINGS[node.op.name] if words or (values.aval.dtype == np.float32 and of_float32(node)) else None


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
        assert values.aval is not None
        width = math.prod(inner) * values.aval.dtype.itemsize // 4  # which a copy takes for numbers of float32
        sizes = {"count": str(math.prod(numbers.shape)), "rows": str(rows), "width": str(width)}
        e = struct(writer, "(Embedding)", {"from": values, "numbers": numbers, "to": out, **sizes})
        call = "embedding" if node.op.name == "index" else "embedding_grad"
        return f"{{ Embedding e = {e}; if (!all_rows_exist(&e)) return {writer.failing(node)}; {call}(&e); }}"


def _table(node: Node) -> Value:
    """What has the rows: it is read, or its gradient is added up."""
    return node.inputs[0] if node.op.name == "index" else node.outputs[0]


_LOWERINGS: dict[str, Lowering] = {"index": _Rows(), "index_add": _Rows()}
