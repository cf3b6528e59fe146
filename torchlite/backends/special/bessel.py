"""Bessel functions of orders 0 and 1, on float64 arrays.

Sources (DLMF): 10.2.2, 10.8, 10.25.2 and 10.31 (power series), 10.12.4 (Σ J₂ₖ = 1, for Miller's algorithm), 10.23.17
(Y as a series of J), 10.32.9 (K as an integral), 10.17 and 10.40 (Hankel's asymptotic expansions).
"""

from __future__ import annotations

import functools
import math

import numpy as np

from torchlite.backends.special import Array, horner, piecewise

_I_ASYMPTOTIC_FROM = _K_ASYMPTOTIC_FROM = 20.0
_J_ASYMPTOTIC_FROM = 25.0
_J_RECURRENCE_FROM = 2.0
_K_INTEGRAL_FROM = 1.0
_EULER_OF_HALF = np.euler_gamma - math.log(2)  # ln ½x + γ is ln x and this
_SHORT = 16  # terms of the power series where |x| ≤ 2


def bessel_j0(x: Array) -> Array:
    """The Bessel function of the first kind J₀."""
    return _first_kind(0, np.abs(x))


def bessel_j1(x: Array) -> Array:
    """The Bessel function of the first kind J₁."""
    return np.copysign(1.0, x) * _first_kind(1, np.abs(x))


def bessel_y0(x: Array) -> Array:
    """The Bessel function of the second kind Y₀."""
    return _second_kind(0, x)


def bessel_y1(x: Array) -> Array:
    """The Bessel function of the second kind Y₁."""
    return _second_kind(1, x)


def i0(x: Array) -> Array:
    """The modified Bessel function of the first kind I₀."""
    return _unscaled(x, i0e(x))


def i1(x: Array) -> Array:
    """The modified Bessel function of the first kind I₁."""
    return _unscaled(x, i1e(x))


def i0e(x: Array) -> Array:
    """I₀(x) e^-|x|."""
    return _scaled_modified_first(0, np.abs(x))


def i1e(x: Array) -> Array:
    """I₁(x) e^-|x|."""
    return np.copysign(_scaled_modified_first(1, np.abs(x)), x)


def modified_bessel_k0(x: Array) -> Array:
    """The modified Bessel function of the second kind K₀."""
    return np.exp(-x) * scaled_modified_bessel_k0(x)


def modified_bessel_k1(x: Array) -> Array:
    """The modified Bessel function of the second kind K₁."""
    return np.exp(-x) * scaled_modified_bessel_k1(x)


def scaled_modified_bessel_k0(x: Array) -> Array:
    """K₀(x) eˣ."""
    return scaled_modified_second(0, x)


def scaled_modified_bessel_k1(x: Array) -> Array:
    """K₁(x) eˣ."""
    return scaled_modified_second(1, x)


def _first_kind(order: int, x: Array) -> Array:
    return piecewise(
        [
            (x < _J_RECURRENCE_FROM, lambda x: _power_series(order, x, -1, _SHORT)),
            ((x >= _J_RECURRENCE_FROM) & (x < _J_ASYMPTOTIC_FROM), lambda x: _by_recurrence(x)[0][order]),
            (x >= _J_ASYMPTOTIC_FROM, lambda x: _hankel(order, x)[0]),
        ],
        x,
    )


def _second_kind(order: int, x: Array) -> Array:
    return piecewise(
        [
            (x == 0, lambda x: np.full_like(x, -np.inf)),
            ((x > 0) & (x < _J_RECURRENCE_FROM), lambda x: _second_kind_near_zero(order, x)),
            ((x >= _J_RECURRENCE_FROM) & (x < _J_ASYMPTOTIC_FROM), lambda x: _second_by_recurrence(order, x)),
            (x >= _J_ASYMPTOTIC_FROM, lambda x: _hankel(order, x)[1]),
        ],
        x,
    )


def _scaled_modified_first(order: int, x: Array) -> Array:
    return piecewise(
        [
            (x < _I_ASYMPTOTIC_FROM, lambda x: np.exp(-x) * _power_series(order, x, 1, 40)),
            (x >= _I_ASYMPTOTIC_FROM, lambda x: horner(_hankel_series(order, -1), 1 / x) / np.sqrt(2 * math.pi * x)),
        ],
        x,
    )


def _unscaled(x: Array, scaled: Array) -> Array:
    # Two factors, for the numbers whose exponential overflows and whose Bessel function does not.
    root = np.exp(0.5 * np.abs(x))
    return root * scaled * root


def scaled_modified_second(order: float, x: Array) -> Array:
    """K of any order from 0 to 1, times eˣ; below x = 1 of the orders 0 and 1 only."""
    return piecewise(
        [
            (x == 0, lambda x: np.full_like(x, np.inf)),
            ((x > 0) & (x < _K_INTEGRAL_FROM), lambda x: np.exp(x) * _modified_second_near_zero(int(order), x)),
            ((x >= _K_INTEGRAL_FROM) & (x < _K_ASYMPTOTIC_FROM), lambda x: _by_integral(order, x)),
            (x >= _K_ASYMPTOTIC_FROM, lambda x: horner(_hankel_series(order, 1), 1 / x) * np.sqrt(math.pi / 2 / x)),
        ],
        x,
    )


def _power_series(order: int, x: Array, sign: int, terms: int) -> Array:
    """(x/2)^order Σ (±x²/4)ᵏ / (k! (k + order)!): J for sign -1, I for sign 1."""
    return (0.5 * x) ** order * horner(_inverse_factorials(order, terms), (0.25 * sign) * x * x)


def _harmonic_series(order: int, x: Array, sign: int) -> Array:
    """The same with each term times Hₖ + Hₖ₊ₒᵣ, of the harmonic numbers H."""
    harmonic = np.cumsum([0.0, *(1 / k for k in range(1, _SHORT + order))]).tolist()
    terms = enumerate(_inverse_factorials(order, _SHORT))
    coefficients = [(harmonic[k] + harmonic[k + order]) * c for k, c in terms]
    return (0.5 * x) ** order * horner(coefficients, (0.25 * sign) * x * x)


@functools.cache
def _inverse_factorials(order: int, terms: int) -> tuple[float, ...]:
    return tuple(1 / (math.factorial(k) * math.factorial(k + order)) for k in range(terms))


def _second_kind_near_zero(order: int, x: Array) -> Array:
    logarithm = np.log(x) + _EULER_OF_HALF
    regular = 2 * logarithm * _power_series(order, x, -1, _SHORT) - _harmonic_series(order, x, -1)
    return (regular - (2 / x if order else 0.0)) / math.pi


def _modified_second_near_zero(order: int, x: Array) -> Array:
    logarithm = np.log(x) + _EULER_OF_HALF
    regular = logarithm * _power_series(order, x, 1, _SHORT) - 0.5 * _harmonic_series(order, x, 1)
    return regular + 1 / x if order else -regular


def _by_recurrence(x: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """J₀ and J₁ by Miller's algorithm, and the sums 2 Σ (-1)ᵏ J₂ₖ / k and its derivative's, which Y₀ and Y₁ need.

    Downward from an order where J is next to nothing, Jₖ₋₁ = 2k/x Jₖ - Jₖ₊₁ finds all of them up to one factor.
    """
    last = 2 * int(0.5 * float(x.max()) + 20)
    above, here = np.zeros_like(x), np.full_like(x, 1e-100)
    total, even, odd = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
    inverse = 2 / x
    for order in range(last, 0, -1):
        k = order // 2
        sign = -1 if k % 2 else 1
        if order % 2:
            odd -= sign * (1 / (k + 1) + (1 / k if k else 0)) * here
        else:
            total += here
            even += (2 * sign / k) * here
        above, here = here, order * inverse * here - above
    scale = 1 / (here + 2 * total)
    return (here * scale, above * scale), (even * scale, odd * scale)


def _second_by_recurrence(order: int, x: Array) -> Array:
    (j0, j1), (even, odd) = _by_recurrence(x)
    logarithm = np.log(x) + _EULER_OF_HALF
    return 2 / math.pi * (logarithm * j1 - j0 / x + odd if order else logarithm * j0 - even)


def _by_integral(order: float, x: Array) -> Array:
    """∫ exp(-x (cosh t - 1)) cosh(order t) dt over t ≥ 0 by the trapezoidal rule, whose error falls like e^-π²/h."""
    h = np.minimum(0.23, 0.6 / np.sqrt(x))
    first = 2 * np.sinh(0.5 * h) ** 2
    before, here = np.zeros_like(x), first  # cosh(kh) - 1, from each two the next
    total = np.full_like(x, 0.5)
    for k in range(1, 20):
        total += np.exp(-x * here) * np.cosh(order * k * h)
        before, here = here, 2 * (first + 1) * here - before + 2 * first
    return h * total


@functools.cache
def _hankel_series(order: float, sign: int) -> tuple[float, ...]:
    """``sign``ᵏ aₖ(order) of Hankel's expansions: aₖ = aₖ₋₁ (4 order² - (2k - 1)²) / 8k."""
    coefficients = [1.0]
    for k in range(1, 36):
        coefficients.append(sign * coefficients[-1] * (4 * order**2 - (2 * k - 1) ** 2) / (8 * k))
    return tuple(coefficients)


def hankel_amplitudes(order: float, x: Array) -> tuple[Array, Array]:
    """Σ (-1)ᵏ a₂ₖ / x²ᵏ and Σ (-1)ᵏ a₂ₖ₊₁ / x²ᵏ⁺¹."""
    series, square = _hankel_series(order, 1), -1 / (x * x)
    return horner(series[::2], square), horner(series[1::2], square) / x


def _hankel(order: int, x: Array) -> tuple[Array, Array]:
    """J and Y, as P cos χ - Q sin χ and P sin χ + Q cos χ times √(2 / πx), χ = x - (order / 2 + ¼) π."""
    p, q = hankel_amplitudes(order, x)
    cosine, sine = np.cos(x), np.sin(x)
    total, difference = cosine + sine, sine - cosine
    cosine, sine = (difference, -total) if order else (total, difference)  # times √2
    scale = 1 / np.sqrt(math.pi * x)
    return scale * (p * cosine - q * sine), scale * (p * sine + q * cosine)
