"""Reductions, and what runs along a dimension."""

from __future__ import annotations

import math

import numpy as np

from torchlite.compiler.graph import Node
from torchlite.onnx.writer import Rule, Writer


def _over(writer: Writer, kind: str, x: str, node: Node) -> str:
    dims, keepdim = node.params["dims"], node.params["keepdim"]
    return writer.add(kind, x, writer.integers(dims), keepdims=int(keepdim), noop_with_empty_axes=1)


def _reduction(kind: str) -> Rule:
    def rule(writer: Writer, node: Node) -> str:
        (v,), out = node.inputs, node.outputs[0]
        assert v.aval is not None and out.aval is not None
        return _over(writer, kind, writer.cast(writer.of(v), v.aval.dtype, out.aval.dtype), node)

    return rule


def _truth(kind: str) -> Rule:
    def rule(writer: Writer, node: Node) -> str:
        (v,), out = node.inputs, node.outputs[0]
        assert v.aval is not None and out.aval is not None
        truth = writer.cast(writer.of(v), v.aval.dtype, np.bool_)
        return writer.cast(_over(writer, kind, writer.cast(truth, np.bool_, np.int32), node), np.int32, out.aval.dtype)

    return rule


def _prod(writer: Writer, node: Node) -> str:
    (v,), out = node.inputs, node.outputs[0]
    assert v.aval is not None and out.aval is not None
    x = writer.cast(writer.of(v), v.aval.dtype, out.aval.dtype)
    return writer.add("ReduceProd", x, writer.integers([node.params["dim"]]), keepdims=0)


def _arg(writer: Writer, node: Node) -> str:
    assert node.op.onnx is not None
    return writer.add(
        node.op.onnx, writer.of(node.inputs[0]), axis=node.params["dim"], keepdims=int(node.params["keepdim"])
    )


def _norm(writer: Writer, node: Node) -> str:
    p, x = float(node.params["p"]), writer.of(node.inputs[0])
    if p in (1.0, 2.0):
        return _over(writer, f"ReduceL{p:.0f}", x, node)
    size = writer.add("Abs", x)
    if math.isinf(p):
        return _over(writer, "ReduceMax" if p > 0 else "ReduceMin", size, node)
    if p == 0:
        raise writer.unsupported("with p = 0")
    out = node.outputs[0]
    total = _over(writer, "ReduceSum", writer.add("Pow", size, writer.number(p, out)), node)
    return writer.add("Pow", total, writer.number(1 / p, out))


def _along(writer: Writer, node: Node) -> str:
    assert node.op.onnx is not None
    return writer.add(node.op.onnx, writer.of(node.inputs[0]), axis=node.params["dim"])


def _cumsum(writer: Writer, node: Node) -> str:
    (v,), out = node.inputs, node.outputs[0]
    assert v.aval is not None and out.aval is not None
    x = writer.cast(writer.of(v), v.aval.dtype, out.aval.dtype)
    return writer.add("CumSum", x, writer.constant(np.asarray(node.params["dim"], np.int64)))


def _argsort(writer: Writer, node: Node) -> str:
    dim = node.params["dim"]
    length = writer.shape(node.inputs[0])[dim]
    _, places = writer.add(
        "TopK", writer.of(node.inputs[0]), writer.lengths([length]), axis=dim, largest=int(node.params["descending"]),
        outputs=2,
    )  # fmt: skip
    return places


RULES: dict[str, Rule] = {
    "all": _truth("ReduceMin"),
    "amax": _reduction("ReduceMax"),
    "amin": _reduction("ReduceMin"),
    "any": _truth("ReduceMax"),
    "argmax": _arg,
    "argmin": _arg,
    "argsort": _argsort,
    "cumsum": _cumsum,
    "log_softmax": _along,
    "mean": _reduction("ReduceMean"),
    "prod": _prod,
    "softmax": _along,
    "sum": _reduction("ReduceSum"),
    "vector_norm": _norm,
}
