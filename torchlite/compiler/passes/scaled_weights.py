"""A scale and shift of each channel as part of the weights in front of it: a batch norm in evaluation mode costs nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from torchlite.compiler.graph import Graph, Node, Value, users
from torchlite.compiler.passes.rewriting import Replacement, rewritten
from torchlite.ir import Aval


def scale_weights(graph: Graph) -> Graph:
    """``affine(convolution(x, w, b), s, t)`` becomes ``convolution(x, w · s, b · s + t)``, and so does ``linear``.

    All but x are constants, one number for each channel. Products are rounded in another order than the function rounds them.
    """
    readers = users(graph.nodes)
    kept = set(graph.outputs)
    inserted: list[Node] = []

    def rule(node: Node) -> Replacement:
        if node.op.name != "affine":
            return None
        x, scale, shift = node.inputs
        product = x.node
        if product is None or product.op.name not in ("convolution", "linear") or not _alone(product, readers, kept):
            return None
        x, weight, *bias = product.inputs
        by_channel = [_by_channel(v, product) for v in (scale, shift)]
        if weight.constant is None or any(v is None for v in by_channel) or any(v.constant is None for v in bias):
            return None
        s, t = by_channel
        scaled = weight.constant * s.reshape(-1, *[1] * (weight.constant.ndim - 1))
        moved = t + bias[0].constant * s if bias else t
        made = replace(product, inputs=(x, _constant(scaled, weight), _constant(moved, weight)), outputs=())
        made.outputs = (Value(node.outputs[0].aval, made),)
        inserted.append(made)
        return made.outputs

    return rewritten(graph, rule, inserted)


def _alone(product: Node, readers: dict[Value, list[Node]], kept: set[Value]) -> bool:
    """Whether a product is read by one operation and is no output."""
    (out,) = product.outputs
    return out not in kept and len(readers.get(out, ())) <= 1


def _by_channel(v: Value, product: Node) -> Any:
    """The numbers of a constant, one for each channel of a product's result; None where it is something else."""
    shape = product.outputs[0].shape
    channel = 1 if product.op.name == "convolution" else len(shape) - 1
    wanted = [1] * len(shape)
    wanted[channel] = shape[channel]
    if v.constant is None:
        return None
    full = (1,) * (len(shape) - v.constant.ndim) + v.constant.shape
    return v.constant.reshape(-1) if full == tuple(wanted) else None


def _constant(array: Any, like: Value) -> Value:
    assert like.aval is not None
    numbers = np.ascontiguousarray(array, like.aval.dtype)
    return Value(Aval(numbers.shape, like.aval.dtype, like.aval.device), constant=numbers)
