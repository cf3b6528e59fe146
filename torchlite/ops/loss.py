"""Losses whose gradient stays finite where that of their formula would not."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite._tensor import Tensor
from torchlite.dispatch import apply
from torchlite.ir import Aval, Op, Sample, broadcast_shapes, register
from torchlite.ops.arithmetic import clamp
from torchlite.ops.pointwise import log, log1p

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
