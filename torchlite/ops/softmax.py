"""Softmax and its logarithm along a dimension, computed without overflow."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite import dtypes
from torchlite._tensor import Tensor, method
from torchlite.autocasting import autocasts
from torchlite.backends.native import accelerated
from torchlite.dispatch import apply
from torchlite.ir import FLOAT32_ON_CUDA, Op, Sample, register
from torchlite.ops.construct import dims_of
from torchlite.ops.destination import OutDtype, takes_out, takes_out_as
from torchlite.ops.half_precision import widened


@widened
@accelerated("rows.softmax")
def _run_softmax(xp: Any, x: Any, *, dim: int) -> Any:
    with np.errstate(all="ignore"):
        e = xp.exp(x - _peak(x, dim))
        e /= e.sum(axis=dim, keepdims=True)
    return e


@widened
@accelerated("rows.log_softmax")
def _run_log_softmax(xp: Any, x: Any, *, dim: int) -> Any:
    with np.errstate(all="ignore"):
        shifted = x - _peak(x, dim)
        shifted -= xp.log(xp.exp(shifted).sum(axis=dim, keepdims=True))
    return shifted


def _peak(x: Any, dim: int) -> Any:
    return x.max(axis=dim, keepdims=True) if x.size else x.sum(axis=dim, keepdims=True)


def _samples(rng: np.random.Generator) -> list[Sample]:
    return [
        Sample((rng.normal(size=(3, 4)),), {"dim": 1}),
        Sample((rng.normal(size=(2, 3, 2)),), {"dim": 1}),
        Sample((rng.normal(size=(0, 3)),), {"dim": 0}),
    ]


def _grad_samples(rng: np.random.Generator) -> list[Sample]:
    return [
        Sample((rng.normal(size=shape), rng.normal(size=shape)), {"dim": 1}) for shape in ((3, 4), (2, 3, 2), (3, 0))
    ]


_softmax_grad: Op = register(
    Op(
        "softmax_grad",
        "reduce",
        run=widened(
            accelerated("rows.softmax_grad")(
                lambda _xp, g, out, *, dim: out * (g - (g * out).sum(axis=dim, keepdims=True))
            )
        ),
        infer=lambda g, out, *, dim: out,  # noqa: ARG005
        vjp=(
            lambda h, _out, _g, out, dim: apply(_softmax_grad, (h, out), {"dim": dim}),
            lambda h, _out, g, out, dim: (
                h * (g - (g * out).sum(dim, keepdim=True)) - g * (h * out).sum(dim, keepdim=True)
            ),
        ),
        samples=_grad_samples,
        doc="out · (g - Σ g · out) along a dimension: the cotangent of the input of `softmax`.",
    )
)
_log_softmax_grad: Op = register(
    Op(
        "log_softmax_grad",
        "reduce",
        run=widened(
            accelerated("rows.log_softmax_grad")(
                lambda xp, g, out, *, dim: g - xp.exp(out) * g.sum(axis=dim, keepdims=True)
            )
        ),
        infer=lambda g, out, *, dim: out,  # noqa: ARG005
        vjp=(
            lambda h, _out, _g, out, dim: h - (h * out.exp()).sum(dim, keepdim=True),
            lambda h, _out, g, out, dim: -h * out.exp() * g.sum(dim, keepdim=True),
        ),
        samples=_grad_samples,
        doc="g - exp(out) Σ g along a dimension: the cotangent of the input of `log_softmax`.",
    )
)
_softmax = register(
    Op(
        "softmax",
        "reduce",
        run=_run_softmax,
        infer=lambda x, *, dim: x,  # noqa: ARG005
        vjp=(lambda g, out, _x, dim: apply(_softmax_grad, (g, out), {"dim": dim}),),
        onnx="Softmax",
        samples=_samples,
        doc="exp(xᵢ) / Σⱼ exp(xⱼ) along a dimension.",
    )
)
_log_softmax = register(
    Op(
        "log_softmax",
        "reduce",
        run=_run_log_softmax,
        infer=lambda x, *, dim: x,  # noqa: ARG005
        vjp=(lambda g, out, _x, dim: apply(_log_softmax_grad, (g, out), {"dim": dim}),),
        onnx="LogSoftmax",
        samples=_samples,
        doc="xᵢ - ln Σⱼ exp(xⱼ) along a dimension.",
    )
)


def _apply(op: Op, x: Tensor, dim: int, dtype: dtypes.dtype | None) -> Tensor:
    x = x if dtype is None else x.to(dtype)
    if x._data.dtype.kind in "biu":
        raise RuntimeError(f"{op.name}: expected a floating-point tensor, got {x.dtype}")
    if x.ndim == 0:
        dims_of(op.name, dim, 0)
        return _apply(op, x.reshape(1), 0, None).reshape(())
    (position,) = dims_of(op.name, dim, x.ndim)
    return apply(op, (x,), {"dim": position})


@takes_out_as(OutDtype.SAME)
@method()
@autocasts(FLOAT32_ON_CUDA)
def softmax(input: Tensor, dim: int, dtype: dtypes.dtype | None = None) -> Tensor:
    """exp(xᵢ) / Σⱼ exp(xⱼ) along ``dim``."""
    return _apply(_softmax, input, dim, dtype)


@takes_out_as(OutDtype.SAME)
@method()
@autocasts(FLOAT32_ON_CUDA)
def log_softmax(input: Tensor, dim: int, dtype: dtypes.dtype | None = None) -> Tensor:
    """xᵢ - ln Σⱼ exp(xⱼ) along ``dim``."""
    return _apply(_log_softmax, input, dim, dtype)


@takes_out
@method()
@autocasts(FLOAT32_ON_CUDA)
def logsumexp(input: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """ln Σ exp(xᵢ) over ``dim``, without overflow."""
    from torchlite.ops.arithmetic import where

    peak = input.detach().amax(dim, keepdim=True)
    peak = where(peak.isfinite(), peak, 0.0)
    total = (input - peak).exp().sum(dim, keepdim=True).log() + peak
    return total if keepdim else total.reshape(input.sum(dim).shape)
