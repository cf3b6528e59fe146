"""bfloat16 where operators compute in float32: what eager execution converts inside of them, as operations of the graph."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from torchlite import dtypes
from torchlite.backends.native.recurrent import in_tiles
from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.passes.rewriting import Replacement, computed, rewritten

_BFLOAT16, _FLOAT32 = dtypes.bfloat16.numpy, np.dtype(np.float32)
# Operators that have kernels for float32 alone, or for bfloat16 of some sizes, and that are `widened`.
_WIDENED = {
    "attention", "attention_grad", "lstm", "lstm_grad", "max_pool", "spread_to_windows",
    "softmax", "softmax_grad", "log_softmax", "log_softmax_grad",
}  # fmt: skip

_OPERANDS = {"attention": 3, "attention_grad": 4}  # without a mask


def widen(graph: Graph) -> Graph:
    """With conversions before and after such operators, which then become part of the operations beside them."""
    inserted: list[Node] = []

    def rule(node: Node) -> Replacement:
        if node.op.name not in _WIDENED or not _is_half(node.inputs[0]) or _has_kernel(node):
            return None
        wide = replace(node, inputs=tuple(cast(v, _FLOAT32) if _is_half(v) else v for v in node.inputs), outputs=())
        wide.outputs = tuple(
            Value(v.aval._replace(dtype=_FLOAT32), wide) if v.aval is not None and _is_half(v) else Value(v.aval, wide)
            for v in node.outputs
        )
        inserted.append(wide)
        pairs = zip(node.outputs, wide.outputs, strict=True)
        return [cast(new, _BFLOAT16) if _is_half(old) else new for old, new in pairs]

    def cast(v: Value, dtype: np.dtype[np.generic]) -> Value:
        return computed(inserted, "cast", v, dtype=dtype)

    return rewritten(graph, rule, inserted)


def _has_kernel(node: Node) -> bool:
    """Whether there is a kernel for bfloat16: of attention without a mask, and of some LSTMs."""
    if node.op.name in _OPERANDS:
        return len(node.inputs) == _OPERANDS[node.op.name] and len(node.inputs[0].shape) == 4
    if node.op.name == "lstm":
        return len(node.inputs) == 4 and in_tiles(node.inputs[3].shape)
    return node.op.name == "lstm_grad" and in_tiles(node.inputs[2].shape)


def _is_half(v: Value) -> bool:
    aval = v.aval
    return aval is not None and aval.dtype == _BFLOAT16 and (aval.device is None or aval.device.type == "cpu")
