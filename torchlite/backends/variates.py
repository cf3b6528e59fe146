"""Numbers of given distributions from uniform 32-bit words, with NumPy or CuPy.

Where numbers are drawn by rejection, element i of round r reads the words at place i of that round. So every number is
a pure function of the words at its own places and of its own parameters, whatever its neighbours need.

Sources: Marsaglia and Tsang, "A simple method for generating gamma variables" (2000); Hörmann, "The transformed
rejection method for generating Poisson random variables" and "The generation of binomial random variates" (1993);
Best and Fisher, "Efficient simulation of the von Mises distribution" (1979).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Draw = Callable[[int, int], Any]
"""``draw(round, n)`` gives n words for each element, of shape (elements, n)."""


def uniform(xp: Any, words: Any, n: int, dtype: Any) -> Any:
    """``n`` numbers in [0, 1): 53 random bits for float64, from two words each; 24 for narrower types, from one."""
    if dtype == np.float64:
        return _unit(xp, words.reshape(n, 2))
    return (words >> xp.uint32(8)).astype(xp.float32) * xp.float32(2.0**-24)


def normal(xp: Any, words: Any, n: int, dtype: Any) -> Any:
    """``n`` standard normal numbers by Box and Muller: √(-2 ln u)·cos 2πv and ·sin 2πv, u in (0, 1], v in [0, 1)."""
    kind = xp.float64 if dtype == np.float64 else xp.float32
    pairs = words.reshape(-1, 2)
    radius, angle = _polar(xp, pairs, kind)
    out = xp.empty((len(pairs), 2), kind)
    out[:, 0] = radius * xp.cos(angle)
    out[:, 1] = radius * xp.sin(angle)
    return out.reshape(-1)[:n]


def log_gamma(xp: Any, concentration: Any, draw: Draw) -> Any:
    """Logarithms of standard gamma numbers: small concentrations give numbers below what floats hold.

    d·(1 + cx)³ with normal x, accepted with a probability of at least 95 %; concentrations below 1 are raised by 1
    and the number multiplied by u^(1/concentration).
    """
    small = concentration < 1
    d = xp.where(small, concentration + 1, concentration) - 1 / 3
    d = xp.where(d < math.inf, d, 1.0)

    def attempt(words: Any, chosen: Any) -> tuple[Any, Any]:
        d_here = d[chosen]
        radius, angle = _polar(xp, words[:, 2:], xp.float64)
        x = radius * xp.cos(angle)
        v = (1 + x / xp.sqrt(9 * d_here)) ** 3
        log_v = xp.log(xp.where(v > 0, v, 1.0))
        accepted = (v > 0) & (_log_unit(xp, words[:, :2]) < x * x / 2 + d_here * (1 - v + log_v))
        return xp.log(d_here) + log_v, accepted

    drawable = (concentration > 0) & (concentration < math.inf)
    result = _by_rejection(xp, attempt, drawable, lambda round: draw(round + 1, 4))
    if bool(small.any()):
        result = result + xp.where(
            drawable & small, _log_unit(xp, draw(0, 2)) / xp.where(drawable, concentration, 1), 0
        )
    return xp.where(drawable, result, xp.log(xp.where(concentration >= 0, concentration, math.nan)))


def poisson(xp: Any, rate: Any, draw: Draw) -> Any:
    """Poisson numbers: by inversion below a rate of 10, by transformed rejection (PTRS) above."""
    large = (rate >= 10) & (rate < math.inf)
    b = 0.931 + 2.53 * xp.sqrt(xp.where(large, rate, 10.0))
    a = 0.02483 * b - 0.059

    def attempt(words: Any, chosen: Any) -> tuple[Any, Any]:
        rate_here, a_here, b_here = rate[chosen], a[chosen], b[chosen]
        k, v, near, plausible, us = _hat(xp, words, a_here, b_here, rate_here + 0.43, 0.9277 - 3.6224 / (b_here - 2))
        bound = k * xp.log(rate_here) - rate_here - _log_factorial(xp, k)
        hat = xp.log(v * (1.1239 + 1.1328 / (b_here - 3.4)) / (a_here / (us * us) + b_here))
        return k, near | (plausible & (hat <= bound))

    result = _by_rejection(xp, attempt, large, lambda round: draw(round, 4))
    below = rate < 10
    if bool(below.any()):
        u = _unit(xp, draw(0, 4)[:, :2])
        safe = xp.where(below, rate, 0.0)
        result = xp.where(below, _by_inversion(xp, u, xp.exp(-safe), lambda k: safe / k), result)
    return xp.where(below | large, result, rate)


def binomial(xp: Any, count: Any, probability: Any, draw: Draw) -> Any:
    """Binomial numbers: by inversion below a mean of 10, by transformed rejection (BTRS) above."""
    n = xp.floor(xp.maximum(count, 0.0))
    flipped = probability > 0.5
    p = xp.clip(xp.where(flipped, 1 - probability, probability), 0.0, 0.5)
    large = n * p >= 10
    spread = xp.sqrt(xp.where(large, n * p * (1 - p), 10.0))
    b = 1.15 + 2.53 * spread
    a = 0.0248 * b + 0.01 * p - 0.0873

    def attempt(words: Any, chosen: Any) -> tuple[Any, Any]:
        n_here, p_here, a_here, b_here = n[chosen], p[chosen], a[chosen], b[chosen]
        k, v, near, plausible, us = _hat(xp, words, a_here, b_here, n_here * p_here + 0.5, 0.92 - 4.2 / b_here)
        plausible = plausible & (k <= n_here)
        k = xp.minimum(k, n_here)
        mode = xp.floor((n_here + 1) * p_here)
        bound = (k - mode) * xp.log(p_here / (1 - p_here)) - _log_factorial(xp, k) - _log_factorial(xp, n_here - k)
        bound = bound + _log_factorial(xp, mode) + _log_factorial(xp, n_here - mode)
        hat = xp.log(v * (2.83 + 5.1 / b_here) * spread[chosen] / (a_here / (us * us) + b_here))
        return k, near | (plausible & (hat <= bound))

    result = _by_rejection(xp, attempt, large, lambda round: draw(round, 4))
    if not bool(large.all()):
        u = _unit(xp, draw(0, 4)[:, :2])
        odds = p / (1 - p)
        first = xp.where(large, 1.0, xp.exp(n * xp.log1p(-p)))
        few = _by_inversion(xp, u, first, lambda k: odds * xp.maximum(n - k + 1, 0.0) / k)
        result = xp.where(large, result, xp.minimum(few, n))
    return xp.where(probability != probability, probability, xp.where(flipped, n - result, result))


def von_mises(xp: Any, concentration: Any, draw: Draw) -> Any:
    """Angles in [-π, π] of density ∝ exp(κ cos x), from a wrapped Cauchy envelope."""
    kappa = concentration
    root = xp.sqrt(1 + 4 * kappa * kappa)
    # ρ = (1 + √(1 + 4κ²) - √(2 + 2√(1 + 4κ²))) / 2κ, and r = (1 + ρ²) / 2ρ, which tends to 1/κ as κ tends to 0
    rho = (1 + root - xp.sqrt(2 + 2 * root)) / (2 * kappa)
    r = xp.where(kappa < 1e-5, 1 / kappa + kappa, (1 + rho * rho) / (2 * rho))

    def attempt(words: Any, chosen: Any) -> tuple[Any, Any]:
        z = xp.cos(math.pi * _unit(xp, words[:, :2]))
        f = (1 + r[chosen] * z) / (r[chosen] + z)
        c = kappa[chosen] * (r[chosen] - f)
        log_u = _log_unit(xp, words[:, 2:4])
        sign = xp.where(words[:, 4] < 2**31, -1.0, 1.0)
        return sign * xp.arccos(xp.clip(f, -1.0, 1.0)), log_u <= xp.log(c) + 1 - c

    return _by_rejection(xp, attempt, kappa > 0, lambda round: draw(round, 6))


def _by_rejection(xp: Any, attempt: Any, wanted: Any, words: Callable[[int], Any]) -> Any:
    """For each element that is ``wanted`` the first proposal that is accepted; 0 elsewhere.

    ``attempt(words, chosen)`` gives the proposals of the ``chosen`` elements and whether they are accepted.
    """
    result = xp.zeros(wanted.shape)
    pending = xp.flatnonzero(wanted)
    round = 0
    while pending.size:
        proposal, accepted = attempt(words(round)[pending], pending)
        result[pending[accepted]] = proposal[accepted]
        pending = pending[~accepted]
        round += 1
    return result


def _hat(xp: Any, words: Any, a: Any, b: Any, shift: Any, squeeze: Any) -> tuple[Any, Any, Any, Any, Any]:
    """Hörmann's transformed proposal: (k, v, accepted at once, not to be rejected at once, ½ - |u|)."""
    u = _unit(xp, words[:, :2]) - 0.5
    v = 1 - _unit(xp, words[:, 2:])
    us = xp.maximum(0.5 - xp.abs(u), 2.0**-54)
    k = xp.floor((2 * a / us + b) * u + shift)
    plausible = (k >= 0) & ((us >= 0.013) | (v <= us))
    return xp.maximum(k, 0.0), v, (us >= 0.07) & (v <= squeeze), plausible, us


def _by_inversion(xp: Any, u: Any, first: Any, ratio: Callable[[int], Any]) -> Any:
    """The least k with P(0) + … + P(k) > u, where P(0) is ``first`` and P(k) = P(k - 1)·ratio(k)."""
    k = xp.zeros(u.shape)
    term, total = first, first
    # Means below 10 put less than 1e-50 above 150.
    for step in range(1, 150):
        above = u >= total
        if not bool(above.any()):
            break
        k = k + above
        term = term * ratio(step)
        total = total + term
    return k


def _unit(xp: Any, pairs: Any) -> Any:
    """Numbers in [0, 1) of 53 bits from pairs of words."""
    high, low = (pairs[:, 0] >> xp.uint32(5)).astype(xp.float64), (pairs[:, 1] >> xp.uint32(6)).astype(xp.float64)
    return (high * 67108864.0 + low) * 2.0**-53


def _log_unit(xp: Any, pairs: Any) -> Any:
    """The logarithm of numbers in (0, 1]."""
    return xp.log1p(-_unit(xp, pairs))


def _polar(xp: Any, pairs: Any, kind: Any) -> tuple[Any, Any]:
    radius = xp.sqrt(kind(-2.0) * xp.log((pairs[:, 0].astype(kind) + kind(1.0)) * kind(2.0**-32)))
    return radius, pairs[:, 1].astype(kind) * kind(2.0**-32 * 2 * math.pi)


def _log_factorial(xp: Any, k: Any) -> Any:
    """Ln k! for k ≥ 0, to 1e-9: Stirling's series at k + 1, raised by 2 so that it holds from 0."""
    x = k + 3
    series = (1 / 12 - (1 / 360 - (1 / 1260 - 1 / (1680 * x * x)) / (x * x)) / (x * x)) / x
    return (x - 0.5) * xp.log(x) - x + 0.5 * math.log(2 * math.pi) + series - xp.log((k + 1) * (k + 2))
