"""Layer normalisation with a scale and a shift, and its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite.backends.native.library import Family

Array = np.ndarray[Any, Any]

C = Family(
    "mathematics.h", "vectors.h", "layer_norm.h", "layer_norm.c",
    layer_norm_values="aaaaaannf", layer_norm_gradients="aaaaaaaann->i",
)  # fmt: skip


def _dense(*arrays: Array) -> list[Array] | None:
    """Each array without gaps; None where one is not float32."""
    if any(array.dtype != np.float32 for array in arrays):
        return None
    return [np.ascontiguousarray(array) for array in arrays]


def layer_norm(x: Array, *scale_shift: Array, dims: int, eps: float) -> tuple[Array, Array, Array] | None:
    """(x - μ) / √(σ² + eps) · weight + bias over the last dimensions, μ and 1 / √(σ² + eps)."""
    arrays = _dense(x, *scale_shift)
    if arrays is None:
        return None
    kept = (*x.shape[:-dims], *(1,) * dims)
    results = np.empty(x.shape, x.dtype), np.empty(kept, x.dtype), np.empty(kept, x.dtype)
    rows = results[1].size
    C.layer_norm_values(arrays[0], *(*arrays[1:], None, None)[:2], *results, rows, x.size // rows, eps)
    return results


def layer_norm_grad(g: Array, x: Array, mean: Array, scale: Array, *weight: Array) -> tuple[Array, ...] | None:
    """The cotangents of x, weight and bias from that of the result."""
    arrays = _dense(g, x, mean, scale, *weight)
    if arrays is None:
        return None
    results = np.empty(x.shape, x.dtype), *(np.empty(weight[0].shape, x.dtype) for _ in range(2 if weight else 0))
    done = C.layer_norm_gradients(*(*arrays, None)[:5], *(*results, None, None)[:3], mean.size, x.size // mean.size)
    return results if done else None
