"""The logarithm of the gamma function, its derivatives, and Hurwitz' zeta function, on float64 arrays.

Sources: Abramowitz and Stegun, Handbook of Mathematical Functions, 6.1 and 6.3 (Stirling's and the digamma series),
6.4 (polygamma functions by zeta functions), 23.2 (zeta functions by Euler and Maclaurin).
"""

from __future__ import annotations

import functools
import math

import numpy as np

from torchlite.backends.special import Array, horner, piecewise

# Bernoulli's numbers B₂, B₄, ...
_BERNOULLI = (
    1 / 6,
    -1 / 30,
    1 / 42,
    -1 / 30,
    5 / 66,
    -691 / 2730,
    7 / 6,
    -3617 / 510,
    43867 / 798,
    -174611 / 330,
    854513 / 138,
    -236364091 / 2730,
)
_ASYMPTOTIC_FROM = 10.0
_ZETA_TERMS = 10


def lgamma(x: Array) -> Array:
    """ln |Γ(x)|: the Taylor series at 2 below 10 and Stirling's series above, reflected below 0."""
    return piecewise(
        [
            (x < 0, _reflected_lgamma),
            ((x >= 0) & (x < _ASYMPTOTIC_FROM), _central_lgamma),
            (x >= _ASYMPTOTIC_FROM, _stirling_lgamma),
        ],
        x,
    )


def _reflected_lgamma(x: Array) -> Array:
    fraction = np.abs(x - np.rint(x))
    # Near 0 the zero of the sine and the x that it is multiplied by are taken apart: their product would underflow.
    result = math.log(math.pi) - np.log(np.sin(math.pi * fraction)) - np.log(-x) - lgamma(-x)
    return np.where(np.isinf(x), np.inf, result)


def _central_lgamma(x: Array) -> Array:
    centre = np.rint(x)
    t = x - centre
    steps = centre - 2
    near_two = t * horner(_taylor_at_two(), t)
    # Γ(2 + t) times the factors above it, or divided by those below: each is exact, and the zeros of ln Γ stay sharp.
    above = np.ones_like(x)
    for k in range(1, int(_ASYMPTOTIC_FROM) - 1):
        above *= np.where(k <= steps, x - k, 1.0)
    near_one = near_two - np.log1p(t)
    return np.select([steps >= 0, steps == -1], [near_two + np.log(above), near_one], near_one - np.log(x))


def lgamma_above_one(t: Array) -> Array:
    """ln Γ(1 + t) for 0 ≤ t < 1, with the digits of a t that 1 + t would lose."""
    return np.where(t < 0.5, t * horner(_taylor_at_two(), t) - np.log1p(t), lgamma(1 + t))


@functools.cache
def _taylor_at_two() -> tuple[float, ...]:
    """The coefficients of ln Γ(2 + t) / t: 1 - γ, then (-1)ᵏ (ζ(k) - 1) / k."""
    order = np.arange(2.0, 30.0)
    zetas = zeta(order, np.full_like(order, 2.0))
    return (1 - np.euler_gamma, *((-1) ** k * z / k for k, z in enumerate(zetas.tolist(), 2)))


def _stirling_lgamma(x: Array) -> Array:
    result = (x - 0.5) * np.log(x) - x + 0.5 * math.log(2 * math.pi) + stirling_correction(x)
    return np.where(np.isinf(x), np.inf, result)


def stirling_correction(x: Array) -> Array:
    """ln Γ(x) - ((x - ½) ln x - x + ½ ln 2π), for x ≥ 10."""
    coefficients = [b / (2 * k * (2 * k - 1)) for k, b in enumerate(_BERNOULLI, 1)]
    return horner(coefficients, 1 / (x * x)) / x


def digamma(x: Array) -> Array:
    """The derivative of ln Γ(x): shifted to x ≥ 10, then the asymptotic series; reflected below 0."""
    result = piecewise([(x < 0, _reflected_digamma), (x >= 0, _positive_digamma)], x)
    return np.where(x == 0, np.copysign(np.inf, -x), result)


def _reflected_digamma(x: Array) -> Array:
    fraction = x - np.rint(x)
    tangent = np.tan(math.pi * fraction)
    return np.where(fraction == 0, np.nan, _positive_digamma(1 - x) - math.pi / tangent)


def _positive_digamma(x: Array) -> Array:
    shift = np.zeros_like(x)
    small = x < _ASYMPTOTIC_FROM
    if small.any():
        y = x.copy()
        for _ in range(int(_ASYMPTOTIC_FROM)):
            shift -= np.where(small, 1 / y, 0.0)
            y += small
            small = y < _ASYMPTOTIC_FROM
        x = y
    inverse = 1 / x
    square = inverse * inverse
    series = square * horner([b / (2 * k) for k, b in enumerate(_BERNOULLI, 1)], square)
    return np.log(x) - 0.5 * inverse - series + shift


def polygamma(x: Array, *, n: int) -> Array:
    """The n-th derivative of `digamma`: (-1)ⁿ⁺¹ n! ζ(n + 1, x)."""
    if n == 0:
        return digamma(x)
    factorial = float(math.factorial(n)) if n <= 170 else math.inf
    return (-1) ** (n + 1) * factorial * zeta(np.full_like(x, n + 1), x)


def zeta(s: Array, q: Array) -> Array:
    """Σ (q + k)⁻ˢ over k ≥ 0, for s > 1; infinite at the poles q = 0, -1, -2, ..."""
    whole = q == np.floor(q)
    result = piecewise(
        [
            ((s > 1) & (q > 0), _positive_zeta),
            ((s > 1) & (q < 0) & ~whole & (s == np.floor(s)), _negative_zeta),
            ((s > 1) & (q <= 0) & whole, lambda s, _q: np.full_like(s, np.inf)),
        ],
        s,
        q,
    )
    return np.where(s == 1, np.inf, result)


def _positive_zeta(s: Array, q: Array) -> Array:
    total = np.zeros_like(q)
    for k in range(_ZETA_TERMS):
        total += (q + k) ** -s
    end = q + _ZETA_TERMS
    last = end**-s
    tail = last * (end / (s - 1) + 0.5)
    term = last * s / end
    for k, bernoulli in enumerate(_BERNOULLI, 1):
        tail += bernoulli / math.factorial(2 * k) * term
        term = term * ((s + 2 * k - 1) / end) * ((s + 2 * k) / end)
    return total + np.where(last > 0, tail, 0.0)


def _negative_zeta(s: Array, q: Array) -> Array:
    """The terms below zero are, up to their signs, those of ζ(s, q′) between the first and the last of them."""
    below = np.ceil(-q)
    above, nearest = q + below, -(q + (below - 1))
    sign = np.where(s % 2 == 1, -1.0, 1.0)
    return _positive_zeta(s, above) + sign * (_positive_zeta(s, nearest) - _positive_zeta(s, nearest + below))
