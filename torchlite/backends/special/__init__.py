"""Special functions of arrays: NumPy has none of them, and CuPy (in ``cupyx.scipy.special``) some.

The numerics in this package are our own, in float64, from series, asymptotic expansions and recurrences whose
coefficients are computed on first use; narrower dtypes are computed in float64 and rounded. They are written with
functions of NumPy that CuPy's arrays dispatch, so that what CuPy lacks runs on the GPU as well.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Branch = tuple[Array, Callable[..., Array]]

# Elements computed at a time: the temporaries of a block stay in the processor's cache.
_BLOCK = 1 << 14
_MODULES = {
    "airy": ("airy_ai",),
    "bessel": (
        *("bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "i0", "i0e", "i1", "i1e"),
        *("modified_bessel_k0", "modified_bessel_k1", "scaled_modified_bessel_k0", "scaled_modified_bessel_k1"),
    ),
    "error": ("erfc", "erfcx", "erfinv", "log_ndtr", "ndtri"),
    "gamma": ("digamma", "lgamma", "polygamma", "zeta"),
    "orthogonal_polynomials": ("chebyshev", "hermite", "laguerre", "legendre"),
    "incomplete_gamma": ("igamma", "igammac", "standard_gamma_grad"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}
_CUPY_NAMES = {
    "lgamma": "gammaln",
    "igamma": "gammainc",
    "igammac": "gammaincc",
    "bessel_j0": "j0",
    "bessel_j1": "j1",
    "bessel_y0": "y0",
    "bessel_y1": "y1",
}


def evaluate(xp: Any, name: str, *arrays: Any, **params: Any) -> Any:
    """The function ``name`` of arrays of one floating-point dtype, broadcast, in that dtype.

    Raises:
        RuntimeError: for arrays of integers or complex numbers.
    """
    dtype = arrays[0].dtype
    if dtype.kind in "biuc":
        raise RuntimeError(f"{name}: not implemented for {dtype}, only for floating-point numbers")
    if xp is not np and not params:
        kernel = getattr(importlib.import_module("cupyx.scipy.special"), _CUPY_NAMES.get(name, name), None)
        if kernel is not None:
            wide = [a.astype(np.float32) if a.dtype.itemsize == 2 else a for a in arrays]  # it has none of half types
            return kernel(*wide).astype(dtype)
    function = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    arrays = tuple(xp.broadcast_arrays(*arrays))
    shape = arrays[0].shape
    flat = [a.ravel() for a in arrays]
    result = xp.empty(flat[0].size, dtype)
    step = _BLOCK if xp is np else max(1, result.size)
    for start in range(0, result.size, step):
        block = slice(start, start + step)
        result[block] = function(*(a[block].astype(np.float64) for a in flat), **params)
    return result.reshape(shape)


def piecewise(branches: Sequence[Branch], *arrays: Array) -> Array:
    """Each function of the elements that its mask names; NaN where none does."""
    result = np.full_like(arrays[0], np.nan)
    for mask, function in branches:
        if mask.all():
            return function(*arrays)
        if mask.any():
            result[mask] = function(*(a[mask] for a in arrays))
    return result


def horner(coefficients: Sequence[float] | Sequence[Array], x: Array) -> Array:
    """Σ coefficients[k] · xᵏ."""
    total = np.zeros_like(x)
    for c in reversed(coefficients):
        total *= x
        total += c
    return total
