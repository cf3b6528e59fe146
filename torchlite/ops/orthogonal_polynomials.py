"""Orthogonal polynomials: functions of a point x and a degree n, either of them a tensor or a number.

As in PyTorch degrees are cut to whole numbers, the polynomials of negative degrees are 0, and there are no gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torchlite._tensor import Tensor
from torchlite.backends.special import evaluate
from torchlite.ops.construct import binary


def _polynomial(name: str, doc: str, family: str, **params: Any) -> Callable[..., Tensor]:
    compute = binary(
        name,
        run=lambda xp, x, n: evaluate(xp, family, x, n, **params),
        to_float=True,
        methods=False,
        domain=(0.2, 9.0),
        doc=doc,
    )

    def function(x: Any, n: Any, *, out: Tensor | None = None) -> Tensor:
        return compute(x, n, out=out)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


def _chebyshev(kind: str, formula: str) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    """The Chebyshev polynomial of one kind and the shifted one."""
    name, letter = f"chebyshev_polynomial_{kind}", kind.upper()
    return (
        _polynomial(name, f"Chebyshev's {letter}ₙ(x), {formula} for x = cos θ.", "chebyshev", kind=kind),
        _polynomial(f"shifted_{name}", f"Chebyshev's {letter}ₙ(2x - 1).", "chebyshev", kind=kind, shifted=True),
    )


chebyshev_polynomial_t, shifted_chebyshev_polynomial_t = _chebyshev("t", "cos nθ")
chebyshev_polynomial_u, shifted_chebyshev_polynomial_u = _chebyshev("u", "sin (n + 1)θ / sin θ")
chebyshev_polynomial_v, shifted_chebyshev_polynomial_v = _chebyshev("v", "cos (n + ½)θ / cos ½θ")
chebyshev_polynomial_w, shifted_chebyshev_polynomial_w = _chebyshev("w", "sin (n + ½)θ / sin ½θ")
hermite_polynomial_h = _polynomial(
    "hermite_polynomial_h",
    "The physicists' Hermite polynomial: Hₙ₊₁ = 2x Hₙ - 2n Hₙ₋₁, H₀ = 1.",
    "hermite",
    physicists=True,
)
hermite_polynomial_he = _polynomial(
    "hermite_polynomial_he",
    "The probabilists' Hermite polynomial: Heₙ₊₁ = x Heₙ - n Heₙ₋₁, He₀ = 1.",
    "hermite",
    physicists=False,
)
laguerre_polynomial_l = _polynomial(
    "laguerre_polynomial_l",
    "Laguerre's polynomial: (n + 1) Lₙ₊₁ = (2n + 1 - x) Lₙ - n Lₙ₋₁, L₀ = 1.",
    "laguerre",
)
legendre_polynomial_p = _polynomial(
    "legendre_polynomial_p",
    "Legendre's polynomial: (n + 1) Pₙ₊₁ = (2n + 1) x Pₙ - n Pₙ₋₁, P₀ = 1.",
    "legendre",
)
