"""Convolution, pooling and resampling."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from torchlite.compiler.graph import Node
from torchlite.onnx.writer import Rule, Writer
from torchlite.ops.windows import Window, size_of

_FEW_TAPS = 4


def _pads(node: Node, window: Window, out: tuple[int, ...]) -> list[int]:
    """The padding before and behind each dimension, so much that the last window fits."""
    size = size_of(np.broadcast_to(np.int8(0), node.inputs[0].shape), window)
    behind = [
        max(p, (m - 1) * s + (k - 1) * d + 1 - n - p) for n, m, k, s, p, d in zip(size, out, *window[:4], strict=True)
    ]
    return [*window.padding, *behind]


def _geometry(node: Node, window: Window) -> dict[str, Any]:
    out = tuple(node.outputs[0].shape[-window.ndim :])
    return {"kernel_shape": window.kernel, "strides": window.stride, "pads": _pads(node, window, out)}


def _convolution(writer: Writer, node: Node) -> str:
    window = node.params["window"]
    return writer.add(
        "Conv", *writer.given(node), **_geometry(node, window), dilations=window.dilation, group=node.params["groups"]
    )


def _transposed(writer: Writer, node: Node) -> str:
    window, groups, size = (node.params[key] for key in ("window", "groups", "size"))
    given = node.inputs[0].shape[-window.ndim :]
    least = [(n - 1) * s + (k - 1) * d + 1 - 2 * p for n, k, s, p, d in zip(given, *window[:4], strict=True)]
    return writer.add(
        "ConvTranspose",
        *writer.given(node),
        kernel_shape=window.kernel,
        strides=window.stride,
        pads=[*window.padding, *window.padding],
        dilations=window.dilation,
        output_padding=[n - m for n, m in zip(size, least, strict=True)],
        group=groups,
    )


def _batched(writer: Writer, node: Node, window: Window) -> tuple[str, bool]:
    """The input with a dimension of samples, and whether that is a new one."""
    lead = len(node.inputs[0].shape) - window.ndim
    x = writer.of(node.inputs[0])
    if lead == 2:
        return x, False
    if lead != 1:
        raise writer.unsupported(f"of {len(node.inputs[0].shape)} dimensions")
    return writer.add("Unsqueeze", x, writer.integers([0])), True


def _max_pool(writer: Writer, node: Node) -> list[str | None]:
    window = node.params["window"]
    x, alone = _batched(writer, node, window)
    best = writer.add("MaxPool", x, **_geometry(node, window), dilations=window.dilation)
    return [writer.add("Squeeze", best, writer.integers([0])) if alone else best, None]


def _sum_windows(writer: Writer, node: Node) -> str:
    window = node.params["window"]
    if any(d != 1 for d in window.dilation):
        raise writer.unsupported("with dilation")
    x, alone = _batched(writer, node, window)
    mean = writer.add("AveragePool", x, **_geometry(node, window), count_include_pad=1)
    mean = writer.add("Squeeze", mean, writer.integers([0])) if alone else mean
    return writer.add("Mul", mean, writer.number(math.prod(window.kernel), node.outputs[0]))


def _im2col(writer: Writer, node: Node) -> str:
    """A convolution of each channel with kernels that pick one element."""
    window, out = node.params["window"], node.outputs[0]
    x = node.inputs[0]
    assert out.aval is not None
    channels, elements = x.shape[1], math.prod(window.kernel)
    one = np.eye(elements, dtype=out.aval.dtype).reshape(elements, 1, *window.kernel)
    positions = window.out_size("im2col", tuple(x.shape[2:]))
    picked = writer.add(
        "Conv",
        writer.of(x),
        writer.constant(np.tile(one, (channels, *[1] * (window.ndim + 1)))),
        kernel_shape=window.kernel,
        strides=window.stride,
        pads=_pads(node, window, positions),
        dilations=window.dilation,
        group=channels,
    )
    return writer.reshape(picked, writer.shape(out))


def _resample(writer: Writer, node: Node) -> str:
    dim, taps = node.params["dim"], node.params["taps"]
    x, out = writer.of(node.inputs[0]), node.outputs[0]
    assert out.aval is not None
    places, ndim = taps.places.astype(np.int64), len(out.shape)
    if taps.weights is not None and len(places) > _FEW_TAPS:
        return _by_matrix(writer, node)
    beside = [1] * dim + [-1] + [1] * (ndim - dim - 1)
    total = ""
    for i, place in enumerate(places):
        term = writer.add("Gather", x, writer.constant(place), axis=dim)
        if taps.weights is not None:
            weight = taps.weights[i].astype(out.aval.dtype).reshape(beside)
            term = writer.add("Mul", term, writer.constant(weight))
        total = writer.add("Add", total, term) if total else term
    if taps.unused is not None:
        used = np.ones(out.shape[dim], out.aval.dtype)
        used[taps.unused] = 0
        total = writer.add("Mul", total, writer.constant(used.reshape(beside)))
    return total


def _by_matrix(writer: Writer, node: Node) -> str:
    dim, taps = node.params["dim"], node.params["taps"]
    out = node.outputs[0]
    assert out.aval is not None
    matrix = np.zeros((taps.length, taps.places.shape[1]), out.aval.dtype)
    np.add.at(matrix, (taps.places, np.arange(taps.places.shape[1])), taps.weights)
    if taps.unused is not None:
        matrix[:, taps.unused] = 0
    order = [d for d in range(len(out.shape)) if d != dim] + [dim]
    last = writer.add("Transpose", writer.of(node.inputs[0]), perm=order)
    product = writer.add("MatMul", last, writer.constant(matrix))
    return writer.add("Transpose", product, perm=[int(d) for d in np.argsort(order)])


RULES: dict[str, Rule] = {
    "convolution": _convolution,
    "convolution_input_grad": _transposed,
    "im2col": _im2col,
    "max_pool": _max_pool,
    "resample": _resample,
    "sum_windows": _sum_windows,
}
