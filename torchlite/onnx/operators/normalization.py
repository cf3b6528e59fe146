"""Zero mean and unit variance."""

from __future__ import annotations

import numpy as np

from torchlite.compiler.graph import Node
from torchlite.onnx.writer import Rule, Writer


def _layer_norm(writer: Writer, node: Node) -> list[str]:
    x, *scale_shift = writer.given(node)
    dims, out = node.params["dims"], node.outputs[0]
    assert out.aval is not None
    if not scale_shift:
        scale_shift = [writer.constant(np.ones(out.shape[len(out.shape) - dims :], out.aval.dtype))]
    made: list[str] = writer.add(
        "LayerNormalization", x, *scale_shift, axis=-dims, epsilon=float(node.params["eps"]), outputs=3
    )
    return made


def _standardize(writer: Writer, node: Node) -> list[str]:
    (x,), out = writer.given(node), node.outputs[0]
    axes = writer.integers(node.params["dims"])
    mean = writer.add("ReduceMean", x, axes, keepdims=1)
    centred = writer.add("Sub", x, mean)
    variance = writer.add("ReduceMean", writer.add("Mul", centred, centred), axes, keepdims=1)
    deviation = writer.add("Sqrt", writer.add("Add", variance, writer.number(node.params["eps"], out)))
    scale = writer.add("Reciprocal", deviation)
    return [writer.add("Mul", centred, scale), mean, scale]


RULES: dict[str, Rule] = {"layer_norm": _layer_norm, "standardize": _standardize}
