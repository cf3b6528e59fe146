"""The error function on NumPy arrays.

float64 goes through the C library's ``erf`` an element at a time (exact, for checks); narrower types use two
minimax polynomials, odd in x near zero and an exponential of a polynomial in the tail, accurate to 1 ulp of float32
(coefficients: N. Juffa's published single-precision erf).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

_CENTRE = (-5.96761703e-4, 4.99119423e-3, -2.67681349e-2, 1.12819925e-1, -3.76125336e-1, 1.28379166e-1)
_TAIL = (
    -1.72853470e-5,
    3.83197126e-4,
    -3.88396438e-3,
    2.42546219e-2,
    -1.06777877e-1,
    -6.34846687e-1,
    -1.28717512e-1,
)
_CENTRE_ENDS = 0.927734375

_exact = np.frompyfunc(math.erf, 1, 1)


def erf(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """2/√π ∫₀ˣ exp(-t²) dt, elementwise, in the dtype of ``x``."""
    if x.dtype == np.float64:
        return np.asarray(_exact(x), np.float64)
    a = np.asarray(x, np.float32)
    t = np.minimum(np.abs(a), np.float32(4.0))
    square = t * t
    centre = _polynomial(_CENTRE, square) * a + a
    tail = _polynomial(_TAIL, t) * t - t
    tail = np.copysign(np.float32(1.0) - np.exp(tail), a)
    return np.where(t > _CENTRE_ENDS, tail, centre).astype(x.dtype, copy=False)


def _polynomial(coefficients: tuple[float, ...], x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    result = np.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        result *= x
        result += np.float32(c)
    return result
