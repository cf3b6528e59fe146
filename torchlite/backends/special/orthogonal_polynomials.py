"""Orthogonal polynomials of whole degrees n at x, on float64 arrays; 0 where n < 0, degrees are cut to whole numbers.

Sources (DLMF): 18.5 (Chebyshev polynomials by trigonometric functions), 18.9 (the recurrences).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from torchlite.backends.special import Array, piecewise

Kind = Literal["t", "u", "v", "w"]
# pₖ₊₁ of k, pₖ and pₖ₋₁.
Step = Callable[[int, Array, Array], Array]

# Up to this degree the recurrence, exact where the numbers are whole; beyond it the formula whose cost does not grow.
_RECURRENCE_TO = 60
# The polynomial is the quotient of sines or cosines (hyperbolic outside [-1, 1]) of (n + a) θ and b θ.
_QUOTIENTS: dict[Kind, tuple[bool, float, float]] = {
    "t": (False, 0.0, 0.0),
    "u": (True, 1.0, 1.0),
    "v": (False, 0.5, 0.5),
    "w": (True, 0.5, 0.5),
}
_MIRRORED: dict[Kind, Kind] = {"t": "t", "u": "u", "v": "w", "w": "v"}


def chebyshev(x: Array, n: Array, *, kind: Kind, shifted: bool = False) -> Array:
    """Tₙ, Uₙ, Vₙ or Wₙ of x, or (shifted) of 2x - 1."""
    if shifted:
        x = 2 * x - 1
    n = np.trunc(n)
    first = {"t": x, "u": 2 * x, "v": 2 * x - 1, "w": 2 * x + 1}[kind]
    high = n > _RECURRENCE_TO
    return piecewise(
        [
            (~high, lambda x, n, first: _by_recurrence(n, first, lambda _k, here, below: 2 * x * here - below)),
            (high & (x >= 0), lambda x, n, _first: _by_angle(kind, x, n)),
            (high & (x < 0), lambda x, n, _first: _alternating(n) * _by_angle(_MIRRORED[kind], -x, n)),
        ],
        x,
        n,
        first,
    )


def hermite(x: Array, n: Array, *, physicists: bool) -> Array:
    """Hₙ (physicists') or Heₙ (probabilists')."""
    scale = 2 if physicists else 1
    return _by_recurrence(n, scale * x, lambda k, here, below: scale * (x * here - k * below))


def laguerre(x: Array, n: Array) -> Array:
    """Laguerre's Lₙ."""
    return _by_recurrence(n, 1 - x, lambda k, here, below: ((2 * k + 1 - x) * here - k * below) / (k + 1))


def legendre(x: Array, n: Array) -> Array:
    """Legendre's Pₙ."""
    return _by_recurrence(n, x, lambda k, here, below: ((2 * k + 1) * x * here - k * below) / (k + 1))


def _by_recurrence(n: Array, first: Array, step: Step) -> Array:
    n = np.trunc(n)
    below, here = np.ones_like(first), first
    result = np.where(n == 0, 1.0, np.where(n == 1, first, 0.0))
    degrees = n[np.isfinite(n)]
    for k in range(1, int(degrees.max()) if degrees.size else 0):
        below, here = here, step(k, here, below)
        result = np.where(n == k + 1, here, result)
    return result


def _by_angle(kind: Kind, x: Array, n: Array) -> Array:
    """For x ≥ 0: θ is the angle whose cosine, or the number whose hyperbolic cosine, is x."""
    odd, a, b = _QUOTIENTS[kind]
    inside = x <= 1

    def wave(angle: Array) -> Any:
        if odd:
            return np.where(inside, np.sin(angle), np.sinh(angle))
        return np.where(inside, np.cos(angle), np.cosh(angle))

    angle = np.where(inside, np.arccos(np.minimum(x, 1)), np.arccosh(np.maximum(x, 1)))
    result = wave((n + a) * angle) / wave(b * angle)
    return np.where(x == 1, (n + a) / b, result) if odd else result


def _alternating(n: Array) -> Array:
    return np.where(n % 2 == 0, 1.0, -1.0)
