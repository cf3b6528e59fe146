"""Attention and its gradient, with the causal mask or one that is added to the scores."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite.backends.native.library import Family

Array = np.ndarray[Any, Any]

C = Family(
    "mathematics.h", "vectors.h", "strips.h", "vector_mathematics.h", "attention.h", "attention.c",
    apart=[("attention", "attention_grad")],
    attention="aaaaaaf->i", attention_grad="aaaaaaaaaf->i",
)  # fmt: skip


def _by_heads(array: Array) -> Array:
    """(batch, heads, rows, columns), with dense rows; a copy only where strides don't allow it."""
    if array.ndim != 4:
        array = array.reshape(-1, *array.shape[-3:]) if array.ndim > 4 else array[(None,) * (4 - array.ndim)]
    dense = array.strides[3] == array.itemsize and all(step >= 0 for step in array.strides)
    return array if dense else np.ascontiguousarray(array)


def _geometry(causal: bool, q: Array, k: Array, v: Array, *others: Array | None) -> Array:
    sizes = (*q.shape[:3], k.shape[2], k.shape[3], v.shape[3], causal)
    steps = [(0, 0, 0) if x is None else x.strides[:3] for x in (q, k, v, *others)]
    return np.array([*sizes, *(step // 4 for strides in steps for step in strides)], np.int64)


def _fits(*arrays: Array) -> bool:
    lead = arrays[0].shape[:-2]
    return all(a.dtype == np.float32 and a.shape[:-2] == lead and 0 not in a.shape for a in arrays)


def _spread(mask: tuple[Array, ...], q: Array, k: Array) -> Array | None:
    """The mask, if there is one, over all heads."""
    return _by_heads(np.broadcast_to(mask[0], (*q.shape[:-1], k.shape[-2]))) if mask else None


def attention(q: Array, k: Array, v: Array, *mask: Array, causal: bool, scale: float) -> Array | None:
    """softmax(q kᵀ · scale + mask) v."""
    if not _fits(q, k, v):
        return None
    out = np.empty((*q.shape[:-1], v.shape[-1]), q.dtype)
    spread = _spread(mask, q, k)
    q, k, v = (_by_heads(array) for array in (q, k, v))
    return out if C.attention(q, k, v, spread, out, _geometry(causal, q, k, v, _by_heads(out), spread), scale) else None


def attention_grad(
    g: Array, q: Array, k: Array, v: Array, *mask: Array, causal: bool, scale: float
) -> tuple[Array, Array, Array] | None:
    """The cotangents of q, k and v."""
    if not _fits(q, k, v, g):
        return None
    results = np.empty(q.shape, q.dtype), np.empty(k.shape, k.dtype), np.empty(v.shape, v.dtype)
    q, k, v, g = (_by_heads(array) for array in (q, k, v, g))
    spread = _spread(mask, results[0], results[1])
    geometry = _geometry(causal, q, k, v, g, spread, *(_by_heads(x) for x in results))
    return results if C.attention_grad(q, k, v, spread, g, *results, geometry, scale) else None
