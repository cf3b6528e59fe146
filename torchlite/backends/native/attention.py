"""Attention without masks other than the causal one, and its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite.backends.native.library import Family

Array = np.ndarray[Any, Any]

C = Family(
    "mathematics.h", "vectors.h", "products.h", "attention.c", attention="aaaaaf->i", attention_grad="aaaaaaaaf->i"
)  # fmt: skip


def _by_heads(array: Array) -> Array:
    """(batch, heads, rows, columns), with dense rows; a copy only where strides don't allow it."""
    if array.ndim != 4:
        array = array.reshape(-1, *array.shape[-3:]) if array.ndim > 4 else array[(None,) * (4 - array.ndim)]
    dense = array.strides[3] == array.itemsize and all(step >= 0 for step in array.strides)
    return array if dense else np.ascontiguousarray(array)


def _geometry(causal: bool, q: Array, k: Array, v: Array, *g: Array) -> Array:
    sizes = (*q.shape[:3], k.shape[2], k.shape[3], v.shape[3], causal)
    return np.array([*sizes, *(step // 4 for array in (q, k, v, *(g or (v,))) for step in array.strides[:3])], np.int64)


def _fits(*arrays: Array) -> bool:
    lead = arrays[0].shape[:-2]
    return all(a.dtype == np.float32 and a.shape[:-2] == lead and 0 not in a.shape for a in arrays)


def attention(q: Array, k: Array, v: Array, *, causal: bool, scale: float) -> Array | None:
    """softmax(q kᵀ · scale) v."""
    if not _fits(q, k, v):
        return None
    out = np.empty((*q.shape[:-1], v.shape[-1]), q.dtype)
    arrays = [_by_heads(array) for array in (q, k, v)]
    return out if C.attention(*arrays, out, _geometry(causal, *arrays), scale) else None


def attention_grad(
    g: Array, q: Array, k: Array, v: Array, *, causal: bool, scale: float
) -> tuple[Array, Array, Array] | None:
    """The cotangents of q, k and v."""
    if not _fits(q, k, v, g):
        return None
    results = np.empty(q.shape, q.dtype), np.empty(k.shape, k.dtype), np.empty(v.shape, v.dtype)
    arrays = [_by_heads(array) for array in (q, k, v, g)]
    return results if C.attention_grad(*arrays, *results, _geometry(causal, *arrays), scale) else None
