"""The regularised incomplete gamma functions P and Q = 1 - P, and how P's quantiles move with its shape.

Where x is near a large a: Temme's uniform asymptotic expansion (DLMF 8.12). Elsewhere the power series of P below a,
and the continued fraction of Q above (DLMF 8.7.1, 8.9.2). All is written as a multiple of x times the density
xᵃ⁻¹ e⁻ˣ / Γ(a), which is what P and Q fall off like.
"""

from __future__ import annotations

import functools
import math
from fractions import Fraction

import numpy as np

from torchlite.backends.special import Array, horner, piecewise
from torchlite.backends.special.error import erfc
from torchlite.backends.special.gamma import digamma, lgamma, lgamma_above_one, stirling_correction

_TEMME_FROM = 20.0
_TEMME_WIDTH = 0.3
_TEMME_ORDERS, _TEMME_DEGREE = 12, 17
_SMALL = 1.1


def igamma(a: Array, x: Array) -> Array:
    """P(a, x) = 1/Γ(a) ∫₀ˣ tᵃ⁻¹ e⁻ᵗ dt."""
    series, near, fraction = _regions(a, x)
    result = piecewise(
        [
            (series, lambda a, x: _scaled_density(a, x) * _series(a, x)[0] / a),
            (near, lambda a, x: _temme(a, x, -1.0)),
            (fraction, lambda a, x: 1 - _scaled_density(a, x) * _fraction(a, x)[0]),
        ],
        a,
        x,
    )
    return _with_limits(a, x, result, 0.0)


def igammac(a: Array, x: Array) -> Array:
    """Q(a, x) = 1/Γ(a) ∫ₓ^∞ tᵃ⁻¹ e⁻ᵗ dt."""
    series, near, fraction = _regions(a, x)
    tiny = series & (a < 1)
    result = piecewise(
        [
            (series & ~tiny, lambda a, x: 1 - _scaled_density(a, x) * _series(a, x)[0] / a),
            (tiny, _complement_of_series),
            (near, lambda a, x: _temme(a, x, 1.0)),
            (fraction, lambda a, x: _scaled_density(a, x) * _fraction(a, x)[0]),
        ],
        a,
        x,
    )
    return _with_limits(a, x, result, 1.0)


def standard_gamma_grad(a: Array, x: Array) -> Array:
    """How fast the quantile x moves with a: dx/da = -(∂P/∂a) / (∂P/∂x), for samples x of Gamma(a, 1)."""
    series, near, fraction = _regions(a, x)
    slope = piecewise([(series, _slope_of_series), (near, _slope_of_temme), (fraction, _slope_of_fraction)], a, x)
    return np.where((x == 0) & (a > 0), 0.0, slope)


def _regions(a: Array, x: Array) -> tuple[Array, Array, Array]:
    inside = (a > 0) & (x > 0) & np.isfinite(a) & np.isfinite(x)
    near = inside & (a > _TEMME_FROM) & (np.abs(x - a) < _TEMME_WIDTH * a)
    low = (x <= _SMALL) | (x < a)
    return inside & ~near & low, near, inside & ~near & ~low


def _with_limits(a: Array, x: Array, result: Array, at_zero: float) -> Array:
    """The values on the edges, ``at_zero`` at x = 0; NaN where a or x is negative, and where both are 0 or infinite."""
    conditions = [
        ~((a >= 0) & (x >= 0)) | ((a == 0) & (x == 0)) | (np.isinf(a) & np.isinf(x)),
        (x == 0) | np.isinf(a),
        (a == 0) | np.isinf(x),
    ]
    return np.select(
        conditions, [np.full_like(a, np.nan), np.full_like(a, at_zero), np.full_like(a, 1 - at_zero)], result
    )


def _scaled_density(a: Array, x: Array) -> Array:
    """xᵃ e⁻ˣ / Γ(a)."""
    return piecewise(
        [
            (a < 10, lambda a, x: a * np.exp(a * np.log(x) - x - lgamma(a + 1))),
            (a >= 10, lambda a, x: np.sqrt(a / (2 * math.pi)) * np.exp(-a * _exponent(x, a) - stirling_correction(a))),
        ],
        a,
        x,
    )


def _exponent(x: Array, a: Array) -> Array:
    """λ - 1 - ln λ for λ = x / a, without cancellation near λ = 1."""
    u = (x - a) / a
    s = u / (2 + u)
    series = u * s - 2 * s**3 * horner([1 / k for k in range(3, 27, 2)], s * s)
    return np.where(np.abs(u) < _TEMME_WIDTH, series, u - np.log(x / a))


def _series(a: Array, x: Array) -> tuple[Array, Array]:
    """S = Σ xⁿ / ((a + 1) ... (a + n)) and ∂S/∂a: P is x times the density times S / a."""
    term, slope = np.ones_like(x), np.zeros_like(x)
    total, slopes = term.copy(), slope.copy()
    n = 0
    while (term > 1e-17 * total).any():
        n += 1
        ratio = x / (a + n)
        slope = (slope - term / (a + n)) * ratio
        term = term * ratio
        total += term
        slopes += slope
    return total, slopes


def _complement_of_series(a: Array, x: Array) -> Array:
    """Q for small a and x, where P is near 1: xᵃ / Γ(a + 1) = 1 - a (...) is not rounded to 1."""
    exponent = a * np.log(x) - lgamma_above_one(a)
    term, total = np.ones_like(x), np.zeros_like(x)
    for n in range(1, 20):
        term = term * -x / n
        total += term / (a + n)
    return -np.expm1(exponent) - np.exp(exponent) * a * total


def _fraction(a: Array, x: Array) -> tuple[Array, Array]:
    """C = 1/(x + 1 - a - 1(1 - a)/(x + 3 - a - ...)) and ∂C/∂a: Q is x times the density times C."""
    last = int(25 + 85 / x.min())  # found by experiment
    below, slope = x + 2 * last + 1 - a, np.full_like(x, -1.0)
    for k in range(last, 0, -1):
        numerator = k * (k - a)
        ratio = numerator / below
        slope = -1 + (k + ratio * slope) / below
        below = x + 2 * k - 1 - a - ratio
    return 1 / below, -slope / below**2


def _temme(a: Array, x: Array, side: float) -> Array:
    """P (side -1) or Q (side 1): the normal distribution of η √a, corrected by powers of 1/a."""
    half_square, eta = _deviation(a, x)
    correction = horner([horner(c, eta) for c in _temme_coefficients()], 1 / a)
    normal = 0.5 * erfc(side * eta * np.sqrt(a / 2))
    return normal + side * np.exp(-a * half_square) / np.sqrt(2 * math.pi * a) * correction


def _deviation(a: Array, x: Array) -> tuple[Array, Array]:
    """η²/2 = λ - 1 - ln λ, and η with the sign of λ - 1."""
    half_square = _exponent(x, a)
    return half_square, np.copysign(np.sqrt(2 * half_square), x - a)


def _slope_of_series(a: Array, x: Array) -> Array:
    total, slope = _series(a, x)
    return -(x / a) * (total * (np.log(x) - digamma(a + 1)) + slope)


def _slope_of_fraction(a: Array, x: Array) -> Array:
    fraction, slope = _fraction(a, x)
    return x * (fraction * (np.log(x) - digamma(a)) + slope)


def _slope_of_temme(a: Array, x: Array) -> Array:
    _, eta = _deviation(a, x)
    u = (x - a) / a
    eta_slope = -np.where(eta == 0, 1.0, u / np.where(eta == 0, 1.0, eta))  # a · ∂η/∂a
    rows = _temme_coefficients()
    orders = [horner(c, eta) for c in rows]
    by_eta = horner([horner([n * v for n, v in enumerate(c)][1:], eta) for c in rows], 1 / a)
    correction = horner(orders, 1 / a)
    by_a = -horner([k * order for k, order in enumerate(orders)], 1 / a)  # a · ∂/∂a
    bracket = 0.5 * eta + eta_slope + (0.5 * correction - by_a - by_eta * eta_slope) / a - correction * np.log1p(u)
    return -(x / a) * np.exp(stirling_correction(a)) * bracket


@functools.cache
def _temme_coefficients() -> tuple[tuple[float, ...], ...]:
    """The coefficients of ηⁿ a⁻ᵏ in Temme's correction (DLMF 8.12.12)."""
    count = _TEMME_DEGREE + 2 * _TEMME_ORDERS + 3
    # λ - 1 = Σ alpha[n] ηⁿ, from η λ = (λ - 1) dλ/dη.
    alpha = [Fraction(0), Fraction(1)]
    for n in range(2, count):
        known = sum((n - i + 1) * alpha[i] * alpha[n - i + 1] for i in range(2, n))
        alpha.append((alpha[n - 1] - known) / (n + 1))
    first = [Fraction(-1, 3), *((n + 2) * alpha[n + 2] for n in range(1, count - 2))]
    rows = [first]
    for k in range(1, _TEMME_ORDERS):
        stirling = alpha[2 * k + 1] * math.prod(range(1, 2 * k + 2, 2)) * (-1) ** k
        above = rows[-1]
        rows.append([stirling * first[n] + (n + 2) * above[n + 2] for n in range(len(above) - 2)])
    return tuple(tuple(float(c) for c in row[: _TEMME_DEGREE + 1]) for row in rows)
