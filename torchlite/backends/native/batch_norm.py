"""Batch normalisation of float32 or bfloat16 with its scale and shift, and all its gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from torchlite.backends.native.bfloat16 import BFLOAT16
from torchlite.backends.native.library import Family

Array = np.ndarray[Any, Any]

C = Family(
    "mathematics.h", "batch_norm.c", apart=[("batch_norm", "batch_norm_grad")],
    batch_norm="aaaaaannnnf->i", batch_norm_grad="aaaaaaaannnn->i",
)  # fmt: skip
_FLOAT32 = np.dtype(np.float32)


def _lengths(x: Array, *parameters: Array) -> tuple[int, int, int, int] | None:
    """Whether numbers are bfloat16, and the lengths that x is seen as; None where there is no kernel."""
    half = x.dtype == BFLOAT16
    if not (half or x.dtype == _FLOAT32) or x.ndim < 2 or x.size == 0:
        return None
    if any(p.dtype != _FLOAT32 or p.size != x.shape[1] for p in parameters):
        return None
    return half, len(x), x.shape[1], math.prod(x.shape[2:])


def batch_norm(x: Array, *scale_shift: Array, eps: float) -> tuple[Array, Array, Array] | None:
    """(x - mean) · scale · weight + bias, the means and the scales 1 / √(variance + eps) of the channels of x (N, C, *)."""
    lengths = _lengths(x, *scale_shift)
    if lengths is None:
        return None
    kept = (1, x.shape[1], *(1,) * (x.ndim - 2))
    out, mean, scale = np.empty(x.shape, x.dtype), np.empty(kept, _FLOAT32), np.empty(kept, _FLOAT32)
    weight, bias = (np.ascontiguousarray(v) for v in scale_shift) if scale_shift else (None, None)
    fine = C.batch_norm(np.ascontiguousarray(x), weight, bias, out, mean, scale, *lengths, eps)
    return (out, mean, scale) if fine else None


def batch_norm_grad(g: Array, x: Array, mean: Array, scale: Array, *weight: Array) -> tuple[Array, ...] | None:
    """The cotangents of x and, where there is a weight, of weight and bias."""
    lengths = _lengths(x, mean, scale, *weight)
    if lengths is None or g.dtype != x.dtype or g.shape != x.shape:
        return None
    results = (np.empty(x.shape, x.dtype), *(np.empty(x.shape[1], _FLOAT32) for _ in range(2 * len(weight))))
    arrays = (np.ascontiguousarray(v) for v in (g, x, mean, scale, *weight))
    nothing = (None,) * (1 - len(weight))
    return results if C.batch_norm_grad(*arrays, *nothing, *results, *nothing, *nothing, *lengths) else None
