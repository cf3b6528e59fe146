"""Products of matrices, and attention."""

from __future__ import annotations

import math

import numpy as np

from torchlite.compiler.graph import Node
from torchlite.onnx.writer import Rule, Writer


def _linear(writer: Writer, node: Node) -> str:
    x, weight, *bias = writer.given(node)
    if len(node.inputs[0].shape) == 2:
        return writer.add("Gemm", x, weight, *bias, transB=1)
    made = writer.add("MatMul", x, writer.add("Transpose", weight, perm=[1, 0]))
    return writer.add("Add", made, *bias) if bias else made


def _matmul(writer: Writer, node: Node) -> str:
    return writer.add("MatMul", *writer.given(node))


def _matmul_added(writer: Writer, node: Node) -> str:
    x, y, added = writer.given(node)
    out, beta, alpha = node.outputs[0], node.params["beta"], node.params["alpha"]
    made = writer.add("MatMul", x, y)
    made = made if alpha == 1 else writer.add("Mul", made, writer.number(alpha, out))
    if beta == 0:
        return made
    return writer.add("Add", made, added if beta == 1 else writer.add("Mul", added, writer.number(beta, out)))


def _attention(writer: Writer, node: Node) -> str:
    q, k, v, *mask = writer.given(node)
    out = node.outputs[0]
    ndim = len(out.shape)
    turned = writer.add("Transpose", k, perm=[*range(ndim - 2), ndim - 1, ndim - 2])
    scores = writer.add("MatMul", writer.add("Mul", q, writer.number(node.params["scale"], out)), turned)
    if node.params["causal"]:
        queries, keys = node.inputs[0].shape[-2], node.inputs[1].shape[-2]
        hidden = np.triu(np.full((queries, keys), -math.inf, out.aval.dtype if out.aval else None), 1)
        scores = writer.add("Add", scores, writer.constant(hidden))
    if not mask:
        return writer.add("MatMul", writer.add("Softmax", scores, axis=-1), v)
    scores = writer.add("Add", scores, mask[0])
    # A query that sees no key gets 0, and not the NaN that a softmax of nothing is.
    most = writer.add("ReduceMax", scores, writer.integers([-1]), keepdims=1)
    nothing = writer.add("Equal", most, writer.number(-math.inf, out))
    weights = writer.add("Where", nothing, writer.number(0, out), writer.add("Softmax", scores, axis=-1))
    return writer.add("MatMul", weights, v)


RULES: dict[str, Rule] = {"attention": _attention, "linear": _linear, "matmul": _matmul, "matmul_added": _matmul_added}
