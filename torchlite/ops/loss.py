"""Losses whose gradient has a simpler or safer form than the derivative of their formula."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite._tensor import Tensor
from torchlite.dispatch import apply
from torchlite.ir import Aval, Op, Sample, broadcast_shapes, register
from torchlite.ops.arithmetic import clamp
from torchlite.ops.construct import operands
from torchlite.ops.half_precision import BFLOAT16, widened
from torchlite.ops.pointwise import log, log1p, sigmoid

_LEAST_LOG, _LEAST_VARIANCE = -100.0, 1e-12


@np.errstate(all="ignore")
def _run(xp: Any, p: Any, y: Any) -> Any:
    least = p.dtype.type(_LEAST_LOG)
    return (y - 1) * xp.maximum(xp.log1p(-p), least) - y * xp.maximum(xp.log(p), least)


_binary_cross_entropy = register(
    Op(
        "binary_cross_entropy",
        "elementwise",
        run=_run,
        infer=lambda p, y: Aval(broadcast_shapes("binary_cross_entropy", p.shape, y.shape), p.dtype, p.device),
        vjp=(
            lambda g, _out, p, y: g * (p - y) / clamp((1 - p) * p, min=_LEAST_VARIANCE),
            lambda g, _out, p, _y: g * (log1p(-p) - log(p)),
        ),
        samples=lambda rng: [
            Sample((rng.uniform(0.1, 0.9, (3, 4)), rng.uniform(0.1, 0.9, (3, 4))), {}),
            Sample((rng.uniform(0.1, 0.9, ()), rng.uniform(0.1, 0.9, ())), {}),
        ],
        doc="-(y ln p + (1 - y) ln(1 - p)), with logarithms not below -100.",
    )
)


def binary_cross_entropy(p: Tensor, y: Tensor) -> Tensor:
    """-(y ln p + (1 - y) ln(1 - p)) of two tensors of one dtype, with logarithms not below -100."""
    return apply(_binary_cross_entropy, (p, y))


@np.errstate(all="ignore")
def _run_logits(xp: Any, x: Any, y: Any) -> Any:
    out = xp.asarray(xp.log1p(xp.exp(-xp.abs(x))))
    # What is added is exactly 0 where y is 0 or 1 and the sign of x is right: a small loss keeps its digits.
    return (1 - y) * x - xp.minimum(x, x.dtype.type(0)) + out


_from_logits = register(
    Op(
        "binary_cross_entropy_with_logits",
        "elementwise",
        run=_run_logits,
        infer=lambda x, y: Aval(
            broadcast_shapes("binary_cross_entropy_with_logits", x.shape, y.shape), x.dtype, x.device
        ),
        vjp=(lambda g, _out, x, y: g * (sigmoid(x) - y), lambda g, _out, x, _y: -g * x),
        samples=lambda rng: [
            Sample((rng.normal(size=(3, 4)), rng.uniform(size=(3, 4))), {}),
            Sample((rng.normal(size=()), rng.uniform(size=())), {}),
        ],
        doc="-(y ln σ(x) + (1 - y) ln(1 - σ(x))), without overflow.",
    )
)
_huber = register(
    Op(
        "huber",
        "elementwise",
        run=lambda xp, x, y, *, delta: _run_huber(xp, x, y, delta),
        infer=lambda x, y, *, delta: Aval(broadcast_shapes("huber", x.shape, y.shape), x.dtype, x.device),  # noqa: ARG005
        vjp=(
            lambda g, _out, x, y, delta: g * clamp(x - y, -delta, delta),
            lambda g, _out, x, y, delta: -g * clamp(x - y, -delta, delta),
        ),
        samples=lambda rng: [
            Sample((rng.uniform(-0.6, 0.6, (3, 4)), np.zeros(4)), {"delta": 0.7}),
            Sample((rng.uniform(0.8, 2.0, 5), np.zeros(5)), {"delta": 0.7}),
        ],
        doc="d² / 2 where the distance d of x and y is below δ, δ(d - δ / 2) elsewhere.",
    )
)


def _run_huber(xp: Any, x: Any, y: Any, delta: float) -> Any:
    if x.dtype == BFLOAT16:  # PyTorch rounds the difference, which it does not of float16
        return _of_distance(xp, xp.abs(x - y), delta=delta)
    return _of_two(xp, x, y, delta=delta)


def _of_distance(xp: Any, far: Any, *, delta: float) -> Any:
    near = xp.minimum(far, far.dtype.type(delta))
    return (far - near * far.dtype.type(0.5)) * near


@widened
def _of_two(xp: Any, x: Any, y: Any, *, delta: float) -> Any:
    return _of_distance(xp, xp.abs(x - y), delta=delta)


def cross_entropy_of_logits(x: Tensor, y: Tensor) -> Tensor:
    """-(y ln σ(x) + (1 - y) ln(1 - σ(x))) of two tensors of one dtype."""
    return apply(_from_logits, (x, y))


def huber(x: Tensor, y: Tensor, delta: float) -> Tensor:
    """d² / 2 where the distance d of two tensors is below ``delta``, delta · (d - delta / 2) elsewhere.

    Raises:
        RuntimeError: for complex numbers.
    """
    x, y = operands("huber", x, y)
    if x.is_complex():
        raise RuntimeError(f"a distance that is squared near 0 only is not implemented for {x.dtype}")
    return apply(_huber, (x, y), {"delta": delta})
