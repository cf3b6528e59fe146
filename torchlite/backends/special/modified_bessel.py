"""The modified Bessel functions of orders 0 and 1, on float64 arrays.

Sources: DLMF 10.25.2 and 10.40 (the power series of I and the asymptotic expansions).
"""

from __future__ import annotations

import functools
import math

import numpy as np

from torchlite.backends.special import Array, horner, piecewise

_ASYMPTOTIC_FROM = 20.0


def i0(x: Array) -> Array:
    """The modified Bessel function I₀."""
    return _unscaled(x, i0e(x))


def i1(x: Array) -> Array:
    """The modified Bessel function I₁."""
    return _unscaled(x, i1e(x))


def i0e(x: Array) -> Array:
    """I₀(x) e^-|x|."""
    return _scaled(0, np.abs(x))


def i1e(x: Array) -> Array:
    """I₁(x) e^-|x|."""
    return np.copysign(_scaled(1, np.abs(x)), x)


def _unscaled(x: Array, scaled: Array) -> Array:
    # Two factors, for the numbers whose exponential overflows and whose Bessel function does not.
    root = np.exp(0.5 * np.abs(x))
    return root * scaled * root


def _scaled(order: int, x: Array) -> Array:
    return piecewise(
        [
            (x < _ASYMPTOTIC_FROM, lambda x: np.exp(-x) * (0.5 * x) ** order * horner(_powers(order), 0.25 * x * x)),
            (x >= _ASYMPTOTIC_FROM, lambda x: horner(asymptotic(order, -1), 1 / x) / np.sqrt(2 * math.pi * x)),
        ],
        x,
    )


@functools.cache
def _powers(order: int) -> tuple[float, ...]:
    """1 / (k! (k + order)!)."""
    return tuple(1 / (math.factorial(k) * math.factorial(k + order)) for k in range(40))


@functools.cache
def asymptotic(order: int, sign: int) -> tuple[float, ...]:
    """``sign``ᵏ aₖ(order) of Hankel's expansions: aₖ = aₖ₋₁ (4 order² - (2k - 1)²) / 8k (DLMF 10.17.1)."""
    coefficients = [1.0]
    for k in range(1, 36):
        coefficients.append(sign * coefficients[-1] * (4 * order**2 - (2 * k - 1) ** 2) / (8 * k))
    return tuple(coefficients)
