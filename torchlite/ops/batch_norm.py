"""Batch normalisation with its scale and shift as one operator, and its gradient as another.

Written out in `standardize` and `affine` both would make several more passes over memory, and half types would be copied
to float32 and back.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import grad_mode
from torchlite.backends.native import accelerated
from torchlite.dispatch import apply
from torchlite.ir import Aval, Op, Sample, register
from torchlite.ops.half_precision import HALVES, cast
from torchlite.ops.standardize import (
    gradient_samples,
    run_affine,
    run_standardize,
    run_standardize_grad,
    run_sum_of_products,
    standardize,
    standardize_vjp,
    sum_of_products,
)

_FLOAT32 = np.dtype(np.float32)
_FEWEST = 1 << 12  # numbers for which a compiled kernel is wanted


def _dims(x: Any) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def _wide_dtype(x: Any) -> Any:
    return _FLOAT32 if x.dtype in HALVES else x.dtype


def _wide(xp: Any, x: Any) -> Any:
    return cast(xp, x, dtype=_FLOAT32) if x.dtype in HALVES else x


def _by_channel(x: Any, ndim: int) -> Any:
    return x.reshape(1, -1, *(1,) * (ndim - 2))


@accelerated("batch_norm.batch_norm", least=_FEWEST)
def _run(xp: Any, x: Any, *scale_shift: Any, eps: float) -> tuple[Any, Any, Any]:
    out, mean, scale = run_standardize(xp, _wide(xp, x), dims=_dims(x), eps=eps)
    if scale_shift:
        out = run_affine(xp, out, *(_by_channel(v, x.ndim) for v in scale_shift))
    return out if out.dtype == x.dtype else cast(xp, out, dtype=x.dtype), mean, scale


@accelerated("batch_norm.batch_norm_grad", least=_FEWEST)
def _run_grad(xp: Any, g: Any, x: Any, mean: Any, scale: Any, *weight: Any) -> tuple[Any, ...]:
    dims, wide = _dims(x), _wide(xp, g)
    standard = (_wide(xp, x) - mean) * scale
    h = wide * _by_channel(weight[0], x.ndim) if weight else wide
    out = run_standardize_grad(xp, h, standard, scale, dims=dims)
    out = out if out.dtype == x.dtype else cast(xp, out, dtype=x.dtype)
    if not weight:
        return (out,)
    by_weight = run_sum_of_products(xp, wide, standard, shape=mean.shape).reshape(-1)
    return out, by_weight, wide.sum(axis=dims)


def _written_out(
    g: tuple[Tensor | None, ...], x: Tensor, scale_shift: tuple[Tensor, ...], eps: float
) -> tuple[Tensor | None, ...]:
    """The cotangents of all inputs, in tensor operators."""
    dims = _dims(x)
    out = standardize(x.to(dtypes.float32) if x._data.dtype in HALVES else x, dims, eps)
    by_out, *by_statistics = g
    if by_out is not None:
        by_out = by_out.to(out[0].dtype)
    h = by_out * _by_channel(scale_shift[0], x.ndim) if scale_shift and by_out is not None else by_out
    d_x = standardize_vjp((h, *by_statistics), out, x, dims, eps)
    if not scale_shift or by_out is None:
        return d_x, *[None] * len(scale_shift)
    return d_x, sum_of_products(by_out, out[0], tuple(out[1].shape)).reshape(-1), by_out.sum(dims)


def _vjp(
    g: tuple[Tensor | None, ...], out: tuple[Any, ...], x: Tensor, *scale_shift: Tensor, eps: float
) -> tuple[Tensor | None, ...]:
    if grad_mode.enabled or g[0] is None or g[1] is not None or g[2] is not None:
        return _written_out(g, x, scale_shift, eps)
    return tuple(apply(_grad, (g[0], x, *out[1:], *scale_shift[:1]), {}))


def _infer(x: Aval, *_scale_shift: Aval, eps: float) -> tuple[Aval, Aval, Aval]:  # noqa: ARG001
    kept = Aval((1, x.shape[1], *(1,) * (x.ndim - 2)), _wide_dtype(x), x.device)
    return x, kept, kept


def _infer_grad(_g: Aval, x: Aval, _mean: Aval, _scale: Aval, *weight: Aval) -> tuple[Aval, ...]:
    of_parameter = [w._replace(dtype=_wide_dtype(x)) for w in weight]
    return (x, *of_parameter, *of_parameter)


def _samples(rng: np.random.Generator) -> list[Sample]:
    x, weight, bias = rng.normal(size=(2, 3, 2, 2)), rng.normal(size=3), rng.normal(size=3)
    return [Sample((x, weight, bias), {"eps": 1e-5}), Sample((x[:, :, 0],), {"eps": 1e-3})]


_grad = register(
    Op(
        "batch_norm_grad",
        "reduce",
        run=_run_grad,
        infer=_infer_grad,
        samples=lambda rng: gradient_samples(rng, (2, 3, 2), (1, 3, 1), (3,)),
        doc="The cotangents of x, weight and bias of `batch_norm` from that of its result, where they need not be "
        "differentiated again; from its mean and 1 / √(σ² + eps).",
    )
)
_batch_norm = register(
    Op(
        "batch_norm",
        "reduce",
        run=_run,
        infer=_infer,
        vjp=_vjp,
        results_read=(1, 2),
        samples=_samples,
        doc="(x - μ) / √(σ² + eps) · weight + bias with μ and the biased σ² of each channel of (N, C, *); also μ and "
        "1 / √(σ² + eps). Half types are computed in float32, of which weight and bias are.",
    )
)


def batch_norm(x: Tensor, scale_shift: tuple[Tensor, ...], eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """(x - μ) / √(σ² + eps) · weight + bias with statistics of each channel, μ and 1 / √(σ² + eps).

    Args:
        x: floating-point numbers (N, C, *).
        scale_shift: none, or a weight and a bias (C,) of the dtype of x, or of float32 where that is a half type.
        eps: as above.
    """
    return apply(_batch_norm, (x, *scale_shift), {"eps": eps})
