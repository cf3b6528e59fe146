"""Layer normalisation with its scale and shift as one operator, and its gradient as another.

Written out in `standardize` and `affine` both would make several more passes over memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite import backends
from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import grad_mode
from torchlite.backends.native import accelerated
from torchlite.dispatch import apply
from torchlite.ir import Aval, Op, Sample, register
from torchlite.ops.standardize import gradient_samples, standardize, standardize_vjp, sum_of_products


def _last(x: Any, dims: int) -> tuple[int, ...]:
    return tuple(range(x.ndim - dims, x.ndim))


@accelerated("layer_norm.layer_norm", least=1 << 12)
def _run(xp: Any, x: Any, *scale_shift: Any, dims: int, eps: float) -> tuple[Any, Any, Any]:
    axes = _last(x, dims)
    mean = x.mean(axis=axes, keepdims=True)
    out = x - mean
    # Two passes: the variance of what is left after the mean is gone does not cancel.
    variance = backends.inner(xp, out, out, axes) * x.dtype.type(mean.size / max(x.size, 1))
    scale = xp.reciprocal(xp.sqrt(variance + x.dtype.type(eps)))
    out *= scale
    if scale_shift:
        out *= scale_shift[0]
    if len(scale_shift) > 1:
        out += scale_shift[1]
    return out, mean, scale


@accelerated("layer_norm.layer_norm_grad", least=1 << 12)
def _run_grad(xp: Any, g: Any, x: Any, mean: Any, scale: Any, *weight: Any) -> tuple[Any, ...]:
    dims = weight[0].ndim if weight else sum(n != m for n, m in zip(x.shape, mean.shape, strict=True))
    axes, lead = _last(x, dims), tuple(range(x.ndim - dims))
    standard = (x - mean) * scale
    h = g * weight[0] if weight else g
    share = x.dtype.type(mean.size / max(x.size, 1))
    out = (h - h.mean(axis=axes, keepdims=True) - standard * (backends.inner(xp, h, standard, axes) * share)) * scale
    if not weight:
        return (out,)
    by_weight = backends.inner(xp, g, standard, lead).reshape(weight[0].shape)
    return out, by_weight, g.sum(axis=lead)


def _written_out(
    g: tuple[Any, ...], x: Tensor, scale_shift: tuple[Tensor, ...], dims: int, eps: float
) -> tuple[Tensor | None, ...]:
    """The cotangents of all inputs, in tensor operators."""
    axes = _last(x, dims)
    out = standardize(x, axes, eps)
    by_out, *by_statistics = g
    h = by_out * scale_shift[0] if scale_shift and by_out is not None else by_out
    d_x = standardize_vjp((h, *by_statistics), out, x, axes, eps)
    if not scale_shift or by_out is None:
        return d_x, *[None] * len(scale_shift)
    lead = tuple(range(x.ndim - dims))
    d_weight = sum_of_products(by_out, out[0], tuple(scale_shift[0].shape))
    return d_x, d_weight, *[by_out.sum(lead) if lead else by_out for _ in scale_shift[1:]]


def _vjp(
    g: tuple[Any, ...], out: tuple[Tensor, ...], x: Tensor, *scale_shift: Tensor, dims: int, eps: float
) -> tuple[Tensor | None, ...]:
    if grad_mode.enabled or g[0] is None or g[1] is not None or g[2] is not None:
        return _written_out(g, x, scale_shift, dims, eps)
    cotangents = apply(_grad, (g[0], x, *out[1:], *scale_shift[:1]), {})
    return tuple(cotangents[: 1 + len(scale_shift)])


def _infer(x: Aval, *_scale_shift: Aval, dims: int, eps: float) -> tuple[Aval, Aval, Aval]:  # noqa: ARG001
    kept = Aval((*x.shape[: len(x.shape) - dims], *(1,) * dims), x.dtype, x.device)
    return x, kept, kept


def _infer_grad(_g: Aval, x: Aval, _mean: Aval, _scale: Aval, *weight: Aval) -> tuple[Aval, ...]:
    return (x, *weight, *weight)


def _samples(rng: np.random.Generator) -> list[Sample]:
    arrays = [rng.normal(size=shape) for shape in ((2, 3, 4), (3, 4), (3, 4))]
    return [
        Sample(tuple(arrays), {"dims": 2, "eps": 1e-5}),
        Sample((arrays[0], rng.normal(size=4)), {"dims": 1, "eps": 1e-3}),
        Sample((arrays[1],), {"dims": 1, "eps": 1e-5}),
    ]


_grad = register(
    Op(
        "layer_norm_grad",
        "reduce",
        run=_run_grad,
        infer=_infer_grad,
        samples=lambda rng: gradient_samples(rng, (2, 3, 4), (2, 3, 1), (4,)),
        doc="The cotangents of x, weight and bias of `layer_norm` from that of its result, where they need not be "
        "differentiated again; from its mean and 1 / √(σ² + eps).",
    )
)
_layer_norm = register(
    Op(
        "layer_norm",
        "reduce",
        run=_run,
        infer=_infer,
        vjp=_vjp,
        results_read=(1, 2),
        samples=_samples,
        doc="(x - μ) / √(σ² + eps) · weight + bias with μ and the biased σ² over the last dimensions; also μ and "
        "1 / √(σ² + eps).",
    )
)


def layer_norm(x: Tensor, scale_shift: tuple[Tensor, ...], dims: int, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """(x - μ) / √(σ² + eps) · weight + bias over the last ``dims`` dimensions, μ and 1 / √(σ² + eps).

    Args:
        x: numbers of one floating-point dtype.
        scale_shift: none, or a weight of the shape of the last dimensions, or that and a bias, of the same dtype.
        dims, eps: as above.
    """
    return apply(_layer_norm, (x, *scale_shift), {"dims": dims, "eps": eps})
