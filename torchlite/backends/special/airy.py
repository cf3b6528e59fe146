"""The Airy function, on float64 arrays.

Sources (DLMF): 9.2 (the differential equation and the values at 0), 9.6.2 and 9.7.9 (by K of order 1/3; asymptotic).
"""

from __future__ import annotations

import functools
import math

import numpy as np

from torchlite.backends.special import Array, piecewise
from torchlite.backends.special.bessel import hankel_amplitudes, scaled_modified_second

_TAYLOR_FROM, _TAYLOR_TO = -12, 1
_TERMS, _TERMS_OF_A_STEP = 24, 34  # for |h| ≤ ½ and for |h| = 1


def airy_ai(x: Array) -> Array:
    """Ai: the solution of y″ = x y that vanishes at +∞."""
    low, high = _TAYLOR_FROM - 0.5, _TAYLOR_TO + 0.5
    return piecewise([(x < low, _oscillating), ((x >= low) & (x <= high), _by_taylor), (x > high, _decaying)], x)


def _decaying(x: Array) -> Array:
    zeta = x * np.sqrt(x) * (2 / 3)
    return np.sqrt(x / 3) / math.pi * np.exp(-zeta) * scaled_modified_second(1 / 3, zeta)


def _oscillating(x: Array) -> Array:
    z = -x
    zeta = z * np.sqrt(z) * (2 / 3)
    p, q = hankel_amplitudes(1 / 3, zeta)
    cosine, sine = np.cos(zeta), np.sin(zeta)
    return (p * (cosine + sine) - q * (sine - cosine)) / np.sqrt(2 * math.pi * np.sqrt(z))


def _by_taylor(x: Array) -> Array:
    """From the nearest integer, where the function and its slope are known."""
    values, slopes = _at_integers()
    centre = np.rint(x)
    value, slope = np.zeros_like(x), np.zeros_like(x)
    for n in range(_TAYLOR_FROM, _TAYLOR_TO + 1):
        here = centre == n
        value += values[n] * here
        slope += slopes[n] * here
    return _taylor(centre, value, slope, x - centre, _TERMS)[0]


def _taylor(centre: Array, value: Array, slope: Array, h: Array, terms: int) -> tuple[Array, Array]:
    """The function at ``centre + h``, and h times its slope there: k (k - 1) yₖ = centre yₖ₋₂ + yₖ₋₃."""
    square, cube = centre * h * h, h**3
    before, last, here = np.zeros_like(h), value, slope * h  # the terms yₖ hᵏ of k - 3, k - 2 and k - 1
    total, slopes = last + here, here
    for k in range(2, terms):
        before, last, here = last, here, (square * last + cube * before) / (k * (k - 1))
        total = total + here
        slopes = slopes + k * here
    return total, slopes


@functools.cache
def _at_integers() -> tuple[dict[int, float], dict[int, float]]:
    """Ai and its slope, from their values at 0 one step at a time."""
    values = {0: 3 ** (-2 / 3) / math.gamma(2 / 3)}
    slopes = {0: -(3 ** (-1 / 3)) / math.gamma(1 / 3)}
    for step, last in ((-1, _TAYLOR_FROM), (1, _TAYLOR_TO)):
        for n in range(0, last, step):
            centre, value, slope, h = np.array([[n], [values[n]], [slopes[n]], [step]], float)
            value, slope = _taylor(centre, value, slope, h, _TERMS_OF_A_STEP)
            values[n + step], slopes[n + step] = value.item(), slope.item() * step
    return values, slopes
