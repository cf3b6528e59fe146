"""Cross-entropy of logits with class indices, and its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite.backends.native.library import Family

Array = np.ndarray[Any, Any]

C = Family(
    "mathematics.h", "vectors.h", "vector_mathematics.h", "cross_entropy.h", "cross_entropy.c",
    cross_entropy_values="aaaaannnn->n", cross_entropy_gradient="aaaaaannnn",
)  # fmt: skip
_REDUCTIONS = {"none": 0, "sum": 1, "mean": 2}


def _fits(x: Array, target: Array, *others: Array) -> bool:
    return x.dtype == np.float32 and target.dtype == np.int64 and all(other.dtype == np.float32 for other in others)


def cross_entropy(x: Array, target: Array, *, ignore_index: int, reduction: str) -> tuple[Array, Array, Array] | None:
    """The loss, the logarithm of each row's sum of exponentials, and how many rows count; None for a target outside."""
    if not _fits(x, target):
        return None
    loss = np.empty(target.shape if reduction == "none" else (), x.dtype)
    results = loss, np.empty(target.shape, x.dtype), np.empty((), x.dtype)
    arrays = np.ascontiguousarray(x), np.ascontiguousarray(target)
    outside = C.cross_entropy_values(*arrays, *results, *x.shape, ignore_index, _REDUCTIONS[reduction])
    return results if outside < 0 else None


def cross_entropy_grad(
    g: Array, x: Array, target: Array, lse: Array, count: Array, *, ignore_index: int, reduction: str
) -> Array | None:
    """The cotangent of the logits from that of the loss."""
    if not _fits(x, target, g, lse, count):
        return None
    out = np.empty(x.shape, x.dtype)
    arrays = (np.ascontiguousarray(array) for array in (g, x, target, lse, count))
    C.cross_entropy_gradient(*arrays, out, *x.shape, ignore_index, _REDUCTIONS[reduction])
    return out
