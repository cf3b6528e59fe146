"""Max-pooling in one and two dimensions, and its gradient."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from torchlite.backends.native.library import Family
from torchlite.backends.native.windows import pairs

Array = np.ndarray[Any, Any]

C = Family("pooling.c", max_pool="aaaa->i", spread="aaaa->i")


def _geometry(lead: tuple[int, ...], size: tuple[int, ...], out: tuple[int, ...], window: Any) -> Array | None:
    """What ``Geometry`` holds in C; None where places are not bytes, and without elements."""
    if window.ndim > 2 or math.prod(window.kernel) > 256 or 0 in (*lead, *size, *out):
        return None
    one = () if window.ndim == 2 else (1,)
    return np.array([math.prod(lead), *one, *size, *pairs(window), *one, *out], np.int64)


def max_pool(x: Array, *, window: Any) -> tuple[Array, Array] | None:
    """The largest element of every window, and its place in the window."""
    lead, size = x.shape[: -window.ndim], x.shape[-window.ndim :]
    out = window.out_size("max_pool", size)
    geometry = _geometry(lead, size, out, window)
    if geometry is None or x.dtype != np.float32:
        return None
    best, places = np.empty((*lead, *out), x.dtype), np.empty((*lead, *out), np.uint8)
    return (best, places) if C.max_pool(np.ascontiguousarray(x), best, places, geometry) else None


def spread(g: Array, places: Array, *, window: Any, size: tuple[int, ...]) -> Array | None:
    """Zeros to which each element is added at the given place of its window."""
    lead = g.shape[: -window.ndim]
    geometry = _geometry(lead, size, g.shape[-window.ndim :], window)
    if geometry is None or g.dtype != np.float32 or places.dtype != np.uint8 or places.shape != g.shape:
        return None
    out = np.empty((*lead, *size), g.dtype)
    return out if C.spread(np.ascontiguousarray(g), np.ascontiguousarray(places), out, geometry) else None
