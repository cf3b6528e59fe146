"""Statistics over dimensions, and scaling: what batch, layer, group and instance normalisation consist of.

Arrays are seen as (a, b, c), where b are the dimensions that stay and lie side by side, and a and c are reduced over.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import numpy as np

from torchlite.backends.native.library import Family

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]

C = Family(
    "sums.h", "normalization.c",
    apart=[("standardize", "standardize_grad", "affine"), ("reduce",)],
    standardize="aaaannnf", standardize_grad="aaaannn", affine="aaaannn", reduce="aaannn->i",
)  # fmt: skip
_SHORTEST = 8  # segments, below which NumPy's strided loops are no slower


def _seen(shape: Shape, dims: Collection[int]) -> tuple[int, int, int] | None:
    """The lengths a, b and c where ``dims`` are reduced over; None where the others are not side by side, or empty."""
    kept = [d for d in range(len(shape)) if d not in dims and shape[d] != 1]
    if 0 in shape:
        return None
    if not kept:
        return 1, 1, math.prod(shape)
    first, last = kept[0], kept[-1] + 1
    if any(d in dims and shape[d] != 1 for d in range(first, last)):
        return None
    return math.prod(shape[:first]), math.prod(shape[first:last]), math.prod(shape[last:])


def _fits(*arrays: Array) -> bool:
    return all(array.dtype == np.float32 and array.shape == arrays[0].shape for array in arrays)


def standardize(x: Array, *, dims: tuple[int, ...], eps: float) -> tuple[Array, Array, Array] | None:
    """X with mean 0 and variance 1, its mean and 1 / √(variance + eps)."""
    lengths = _seen(x.shape, dims)
    if lengths is None or lengths[2] < _SHORTEST or not _fits(x):
        return None
    out = np.empty(x.shape, x.dtype)
    mean, scale = (np.empty([1 if d in dims else n for d, n in enumerate(x.shape)], x.dtype) for _ in range(2))
    C.standardize(np.ascontiguousarray(x), out, mean, scale, *lengths, eps)
    return out, mean, scale


def standardize_grad(g: Array, standard: Array, scale: Array, *, dims: tuple[int, ...]) -> Array | None:
    """The cotangent of what was standardized, from that of the result."""
    lengths = _seen(g.shape, dims)
    if lengths is None or lengths[2] < _SHORTEST or not _fits(g, standard) or scale.size != lengths[1]:
        return None
    out = np.empty(g.shape, g.dtype)
    C.standardize_grad(*(np.ascontiguousarray(v) for v in (g, standard, scale)), out, *lengths)
    return out


def _repeated(shape: Shape, parameter: Shape) -> list[int]:
    """The dimensions along which a parameter is broadcast."""
    lead = len(shape) - len(parameter)
    return [d for d in range(len(shape)) if d < lead or parameter[d - lead] == 1]


def affine(x: Array, weight: Array, bias: Array) -> Array | None:
    """X · weight + bias, where both repeat along the same dimensions."""
    if weight.shape != bias.shape or weight.ndim > x.ndim or bias.dtype != np.float32 or weight.dtype != np.float32:
        return None
    lengths = _seen(x.shape, _repeated(x.shape, weight.shape))
    if lengths is None or 1 < lengths[2] < _SHORTEST or not _fits(x) or weight.size != lengths[1]:
        return None
    out = np.empty(x.shape, x.dtype)
    C.affine(*(np.ascontiguousarray(v) for v in (x, weight, bias)), out, *lengths)
    return out


def sum_of_products(x: Array, y: Array, *, shape: Shape) -> Array | None:
    """Σ x · y over the dimensions along which ``shape`` repeats."""
    return _reduced(x, y, _repeated(x.shape, shape), shape) if _fits(x, y) else None


def sum_over(x: Array, *, dims: tuple[int, ...], keepdim: bool) -> Array | None:
    """Σ x over dimensions."""
    if not _fits(x) or not x.flags.c_contiguous:
        return None
    kept = [1 if d in dims else n for d, n in enumerate(x.shape) if keepdim or d not in dims]
    return _reduced(x, None, dims, tuple(kept))


def _reduced(x: Array, y: Array | None, dims: Collection[int], shape: Shape) -> Array | None:
    lengths = _seen(x.shape, dims)
    if lengths is None or 1 < lengths[2] < _SHORTEST or math.prod(shape) != lengths[1]:
        return None
    out = np.empty(shape, x.dtype)
    fine = C.reduce(np.ascontiguousarray(x), None if y is None else np.ascontiguousarray(y), out, *lengths)
    return out if fine else None
