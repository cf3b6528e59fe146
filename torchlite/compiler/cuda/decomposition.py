"""Operators of several steps as the steps they consist of, which are then fused with each other and what is around them.

The steps are those of the operators' own definitions, with half types computed in float32 and rounded once at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from torchlite.compiler.cuda.scalars import HALVES
from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.passes.steps import Steps, written_out
from torchlite.compiler.passes.steps import aval_of as _aval
from torchlite.ir import Shape

_ROOT_HALF, _ROOT_TWO_OVER_PI, _CUBIC = math.sqrt(0.5), math.sqrt(2 / math.pi), 0.044715
Dims = tuple[int, ...]


def decomposed(graph: Graph, wanted: Callable[[Node], bool]) -> Graph:
    """The graph with those operations written out that are ``wanted`` and have a rule."""
    return written_out(graph, RULES, wanted, _Steps)


class _Steps(Steps):
    """With half types as float32."""

    def wide(self, *values: Value) -> list[Value]:
        """Half types as float32, others as they are."""
        return [self.cast(v, dtype=np.dtype(np.float32)) if str(_aval(v).dtype) in HALVES else v for v in values]


def _count(v: Value, dims: Dims) -> int:
    return math.prod(_aval(v).shape[d] for d in dims)


def _softmax(s: _Steps, x: Value, *, dim: int) -> Value:
    (x,) = s.wide(x)
    e = s.exp(s.sub(x, s.amax(x, dims=(dim,), keepdim=True)))
    return s.rounded(s.div(e, s.total(e, (dim,))))


def _log_softmax(s: _Steps, x: Value, *, dim: int) -> Value:
    (x,) = s.wide(x)
    shifted = s.sub(x, s.amax(x, dims=(dim,), keepdim=True))
    return s.rounded(s.sub(shifted, s.log(s.total(s.exp(shifted), (dim,)))))


def _softmax_grad(s: _Steps, g: Value, out: Value, *, dim: int) -> Value:
    g, out = s.wide(g, out)
    return s.rounded(s.mul(out, s.sub(g, s.total(s.mul(g, out), (dim,)))))


def _log_softmax_grad(s: _Steps, g: Value, out: Value, *, dim: int) -> Value:
    g, out = s.wide(g, out)
    return s.rounded(s.sub(g, s.mul(s.exp(out), s.total(g, (dim,)))))


def _standardized(s: _Steps, x: Value, dims: Dims, eps: float) -> tuple[Value, Value, Value]:
    """(x - μ) / √(σ² + eps), μ and 1 / √(σ² + eps)."""
    n = _count(x, dims)
    mean = s.div(s.total(x, dims), n)
    centered = s.sub(x, mean)
    variance = s.mul(s.total(s.mul(centered, centered), dims), 1 / n)
    scale = s.reciprocal(s.sqrt(s.add(variance, eps)))
    return s.mul(centered, scale), mean, scale


def _scaled_and_shifted(s: _Steps, x: Value, scale_shift: Sequence[Value]) -> Value:
    for step, parameter in zip((s.mul, s.add), scale_shift, strict=False):
        x = step(x, parameter)
    return x


def _standardize(s: _Steps, x: Value, *, dims: Dims, eps: float) -> tuple[Value, ...]:
    (x,) = s.wide(x)
    return tuple(s.rounded(v, i) for i, v in enumerate(_standardized(s, x, dims, eps)))


def _standardize_grad(s: _Steps, g: Value, standard: Value, scale: Value, *, dims: Dims) -> Value:
    g, standard, scale = s.wide(g, standard, scale)
    n = _count(g, dims)
    along = s.mul(standard, s.mul(s.total(s.mul(g, standard), dims), 1 / n))
    return s.rounded(s.mul(s.sub(s.sub(g, along), s.div(s.total(g, dims), n)), scale))


def _layer_norm(s: _Steps, x: Value, *scale_shift: Value, dims: int, eps: float) -> tuple[Value, ...]:
    x, *scale_shift_wide = s.wide(x, *scale_shift)
    out, mean, scale = _standardized(s, x, _last(x, dims), eps)
    out = _scaled_and_shifted(s, out, scale_shift_wide)
    return tuple(s.rounded(v, i) for i, v in enumerate((out, mean, scale)))


def _layer_norm_grad(
    s: _Steps, g: Value, x: Value, mean: Value, scale: Value, *weight: Value
) -> tuple[Value, ...] | None:
    g, x, mean, scale, *weight_wide = s.wide(g, x, mean, scale, *weight)
    shape, kept = _aval(x).shape, _aval(mean).shape
    dims = len(_aval(weight[0]).shape) if weight else sum(n != m for n, m in zip(shape, kept, strict=True))
    axes, lead = _last(x, dims), tuple(range(len(shape) - dims))
    if not lead:
        return None
    n = _count(x, axes)
    standard = s.mul(s.sub(x, mean), scale)
    h = s.mul(g, *weight_wide) if weight_wide else g
    along = s.mul(standard, s.mul(s.total(s.mul(h, standard), axes), 1 / n))
    out = s.mul(s.sub(s.sub(h, s.div(s.total(h, axes), n)), along), scale)
    if not weight_wide:
        return (s.rounded(out),)
    return s.rounded(out), s.rounded(s.total(s.mul(g, standard), lead), 1), s.rounded(s.total(g, lead), 2)


def _batch_norm(s: _Steps, x: Value, *scale_shift: Value, eps: float) -> tuple[Value, ...]:
    (x,) = s.wide(x)
    out, mean, scale = _standardized(s, x, _all_but_channels(x), eps)
    out = _scaled_and_shifted(s, out, [s.view(v, shape=_aval(mean).shape) for v in scale_shift])
    return tuple(s.rounded(v, i) for i, v in enumerate((out, mean, scale)))


def _batch_norm_grad(s: _Steps, g: Value, x: Value, mean: Value, scale: Value, *weight: Value) -> tuple[Value, ...]:
    g, x = s.wide(g, x)
    dims = _all_but_channels(x)
    n = _count(x, dims)
    standard = s.mul(s.sub(x, mean), scale)
    # What a channel's weight and bias get is what the cotangent of x needs, but for the weight.
    by_weight, by_bias = s.total(s.mul(g, standard), dims), s.total(g, dims)
    out = s.sub(s.sub(g, s.div(by_bias, n)), s.mul(standard, s.mul(by_weight, 1 / n)))
    factor = s.mul(scale, *(s.view(w, shape=_aval(scale).shape) for w in weight)) if weight else scale
    results = (s.mul(out, factor), by_weight, by_bias)
    return tuple(s.rounded(v, i) for i, v in enumerate(results[: 3 if weight else 1]))


def _all_but_channels(x: Value) -> Dims:
    return (0, *range(2, len(_aval(x).shape)))


def _last(x: Value, dims: int) -> Dims:
    ndim = len(_aval(x).shape)
    return tuple(range(ndim - dims, ndim))


def _classes(s: _Steps, x: Value, target: Value, ignore_index: int) -> tuple[Value, Value]:
    """Which logits (N, C) are those of the target, and which rows (N, 1) count."""
    rows, classes = _aval(x).shape
    column = s.view(target, shape=(rows, 1))
    return s.eq(column, s.array(np.arange(classes).reshape(1, classes))), s.ne(column, ignore_index)


def _cross_entropy(
    s: _Steps, x: Value, target: Value, *, ignore_index: int, reduction: str
) -> tuple[Value, ...] | None:
    if not _aval(x).size:
        return None
    chosen, counted = _classes(s, x, target, ignore_index)
    peak = s.amax(x, dims=(1,), keepdim=True)
    log_sum = s.log(s.total(s.exp(s.sub(x, peak)), (1,)))
    named = s.total(s.where(chosen, x, s.number(0, x)), (1,))
    loss = s.where(counted, s.sub(log_sum, s.sub(named, peak)), s.number(0, x))  # (N, 1)
    count = s.total(s.cast(counted, dtype=_aval(x).dtype), (0,))
    if reduction != "none":
        loss = s.total(loss, (0,))
    if reduction == "mean":
        loss = s.div(loss, count)
    return tuple(s.rounded(v, i) for i, v in enumerate((loss, s.add(peak, log_sum), count)))


def _cross_entropy_grad(
    s: _Steps, g: Value, x: Value, target: Value, lse: Value, count: Value, *, ignore_index: int, reduction: str
) -> Value | None:
    if not _aval(x).size:
        return None
    chosen, counted = _classes(s, x, target, ignore_index)
    column = (_aval(x).shape[0], 1)
    share = s.div(g, count) if reduction == "mean" else g
    if reduction == "none":
        share = s.view(share, shape=column)
    weights = s.exp(s.sub(x, s.view(lse, shape=column)))
    slope = s.sub(weights, s.where(chosen, s.number(1, x), s.number(0, x)))
    return s.where(counted, s.mul(slope, share), s.number(0, x))


def _linear(s: _Steps, x: Value, weight: Value, *bias: Value) -> Value | None:
    """The product alone; the bias belongs to what follows it."""
    return s.add(s.linear(x, weight), *bias) if bias else None


def _convolution(s: _Steps, x: Value, weight: Value, *bias: Value, window: Any, groups: int) -> Value | None:
    """The convolution alone, as with a product."""
    if not bias:
        return None
    alone = s.convolution(x, weight, window=window, groups=groups)
    return s.add(alone, s.view(*bias, shape=(_aval(weight).shape[0], *[1] * window.ndim)))


def _view(s: _Steps, x: Value, *, shape: Shape) -> Value | None:
    """A product that is seen in more dimensions gets its bias there, where an activation follows."""
    add = x.node
    if add is None or add.op.name != "add" or not shape or _aval(x).shape[-1:] != shape[-1:]:
        return None
    product, bias = add.inputs
    if product.node is None or product.node.op.name != "linear" or len(_aval(bias).shape) != 1:
        return None
    return s.add(s.view(product, shape=shape), bias)


def _affine(s: _Steps, x: Value, weight: Value, bias: Value) -> Value:
    x, weight, bias = s.wide(x, weight, bias)
    return s.rounded(s.add(s.mul(x, weight), bias))


def _sum_of_products(s: _Steps, x: Value, y: Value, *, shape: Shape) -> Value:
    x, y = s.wide(x, y)
    ndim = len(_aval(x).shape)
    lead = ndim - len(shape)
    dims = tuple(d for d in range(ndim) if d < lead or shape[d - lead] == 1)
    return s.rounded(s.total(s.mul(x, y), dims))


def _sum(s: _Steps, x: Value, *, dims: Dims, keepdim: bool) -> Value | None:  # noqa: ARG001 - the result's shape says it
    dtype = _aval(x).dtype
    if str(dtype) in HALVES:
        (x,) = s.wide(x)
        return s.rounded(s.total(x, dims))
    if dtype.kind in "biu" and dtype != np.int64:
        return s.rounded(s.total(s.cast(x, dtype=np.dtype(np.int64)), dims))
    return None


def _mean(s: _Steps, x: Value, *, dims: Dims, keepdim: bool) -> Value | None:  # noqa: ARG001
    if _aval(x).dtype.kind != "f" and str(_aval(x).dtype) not in HALVES:
        return None
    (x,) = s.wide(x)
    return s.rounded(s.div(s.total(x, dims), _count(x, dims)))


def _vector_norm(s: _Steps, x: Value, *, p: float, dims: Dims, keepdim: bool) -> Value | None:  # noqa: ARG001
    if p != 2 or (_aval(x).dtype.kind != "f" and str(_aval(x).dtype) not in HALVES):
        return None
    (x,) = s.wide(x)
    return s.rounded(s.sqrt(s.total(s.mul(x, x), dims)))


def _gelu(s: _Steps, x: Value, *, approximate: str) -> Value:
    (x,) = s.wide(x)
    if approximate == "none":
        curve = s.erf(s.mul(x, _ROOT_HALF))
    else:
        slope = s.add(s.mul(s.mul(x, x), _CUBIC * _ROOT_TWO_OVER_PI), _ROOT_TWO_OVER_PI)
        curve = s.tanh(s.mul(slope, x))
    return s.rounded(s.mul(s.mul(s.add(curve, 1), x), 0.5))


def _gelu_grad(s: _Steps, g: Value, x: Value, *, approximate: str) -> Value:
    g, x = s.wide(g, x)
    square = s.mul(x, x)
    if approximate == "none":
        density = s.mul(s.mul(s.exp(s.mul(square, -0.5)), x), _ROOT_TWO_OVER_PI * 0.5)
        slope = s.add(s.mul(s.add(s.erf(s.mul(x, _ROOT_HALF)), 1), 0.5), density)
        return s.rounded(s.mul(g, slope))
    t = s.tanh(s.mul(s.add(s.mul(square, _CUBIC * _ROOT_TWO_OVER_PI), _ROOT_TWO_OVER_PI), x))
    inner = s.add(s.mul(square, 3 * _CUBIC * _ROOT_TWO_OVER_PI), _ROOT_TWO_OVER_PI)
    bend = s.mul(s.mul(s.sub(1, s.mul(t, t)), inner), x)
    return s.rounded(s.mul(g, s.mul(s.add(s.add(bend, 1), t), 0.5)))


def _silu(s: _Steps, x: Value) -> Value:
    (x,) = s.wide(x)
    return s.rounded(s.div(x, s.add(s.exp(s.neg(x)), 1)))


def _silu_grad(s: _Steps, g: Value, x: Value) -> Value:
    g, x = s.wide(g, x)
    sigmoid = s.reciprocal(s.add(s.exp(s.neg(x)), 1))
    return s.rounded(s.mul(g, s.mul(s.add(s.mul(s.sub(1, sigmoid), x), 1), sigmoid)))


def _leaky_relu(s: _Steps, x: Value, *, negative_slope: float) -> Value:
    (x,) = s.wide(x)
    return s.rounded(s.where(s.gt(x, 0), x, s.mul(x, negative_slope)))


def _leaky_relu_grad(s: _Steps, g: Value, x: Value, *, negative_slope: float) -> Value:
    g, x = s.wide(g, x)
    return s.rounded(s.where(s.gt(x, 0), g, s.mul(g, negative_slope)))


def _tanh_grad(s: _Steps, g: Value, out: Value) -> Value:
    g, out = s.wide(g, out)
    return s.rounded(s.mul(g, s.sub(1, s.mul(out, out))))


def _sigmoid_grad(s: _Steps, g: Value, out: Value) -> Value:
    g, out = s.wide(g, out)
    return s.rounded(s.mul(g, s.mul(out, s.sub(1, out))))


def _relu_grad(s: _Steps, g: Value, out: Value) -> Value:
    return s.where(s.le(out, 0), s.number(0, g), g)


def _clamp(s: _Steps, x: Value, *, min: Any, max: Any) -> Value | None:
    if any(type(bound) not in (int, float, type(None)) for bound in (min, max)):
        return None
    raised = x if min is None else s.maximum(x, min)
    return raised if max is None else s.minimum(raised, max)


def _places(s: _Steps, x: Shape, dim: int, index: Value) -> Value | None:
    """Where along ``dim`` an array of shape ``x`` is named by ``index``, which names one place in each line."""
    named = _aval(index)
    if named.shape != tuple(1 if d == dim else n for d, n in enumerate(x)) or x[dim] == 1:
        return None
    along = np.arange(x[dim], dtype=named.dtype).reshape([-1 if d == dim else 1 for d in range(len(x))])
    return s.eq(index, s.array(along))


def _gather(s: _Steps, x: Value, index: Value, *, dim: int) -> Value | None:
    if _aval(x).dtype.kind != "f":
        return None
    places = _places(s, _aval(x).shape, dim, index)
    return None if places is None else s.total(s.where(places, x, s.number(0, x)), (dim,))


def _scatter_add(s: _Steps, values: Value, index: Value, *, dim: int, shape: Shape) -> Value | None:
    places = _places(s, shape, dim, index) if _aval(values).shape == _aval(index).shape else None
    return None if places is None else s.where(places, values, s.number(0, values))


RULES: dict[str, Callable[..., Any]] = {
    "softmax": _softmax, "log_softmax": _log_softmax, "softmax_grad": _softmax_grad,
    "log_softmax_grad": _log_softmax_grad, "standardize": _standardize, "standardize_grad": _standardize_grad,
    "affine": _affine, "sum_of_products": _sum_of_products, "sum": _sum, "mean": _mean, "vector_norm": _vector_norm,
    "gelu": _gelu, "gelu_grad": _gelu_grad, "silu": _silu, "silu_grad": _silu_grad, "leaky_relu": _leaky_relu,
    "leaky_relu_grad": _leaky_relu_grad,
    "tanh_grad": _tanh_grad, "sigmoid_grad": _sigmoid_grad, "relu_grad": _relu_grad, "clamp": _clamp,
    "gather": _gather, "scatter_add": _scatter_add, "linear": _linear, "convolution": _convolution, "view": _view,
    "layer_norm": _layer_norm, "layer_norm_grad": _layer_norm_grad, "batch_norm": _batch_norm, "batch_norm_grad": _batch_norm_grad,
    "cross_entropy": _cross_entropy,
    "cross_entropy_grad": _cross_entropy_grad,
}  # fmt: skip
