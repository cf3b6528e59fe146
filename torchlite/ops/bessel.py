"""Bessel functions of orders 0 and 1, and the Airy function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torchlite._tensor import Tensor
from torchlite.backends.special import evaluate
from torchlite.ops.arithmetic import where
from torchlite.ops.construct import Domain, unary


def _bessel(
    name: str, vjp: Callable[..., Any] | None, domain: Domain, doc: str, *, methods: bool = False
) -> Callable[..., Tensor]:
    return unary(
        name,
        vjp,
        run=lambda xp, x: evaluate(xp, name, x),
        to_float=True,
        methods=methods,
        domain=domain,
        doc=doc,
    )


_LEAST = 1e-30


def _over(y: Tensor, x: Tensor, at_zero: float) -> Tensor:
    """Y / x, with its limit at x = 0, near which y has lost its digits."""
    is_zero = x.abs() <= _LEAST
    return where(is_zero, at_zero, y / where(is_zero, 1.0, x))


_WIDE, _POSITIVE = (0.2, 3.0), (0.5, 4.0)

bessel_j0 = _bessel(
    "bessel_j0",
    lambda g, _out, x: -g * bessel_j1(x),
    _WIDE,
    "The Bessel function of the first kind of order 0: Σ (-x²/4)ᵏ / (k!)² over k ≥ 0.",
)
bessel_j1: Callable[..., Tensor] = _bessel(
    "bessel_j1",
    lambda g, out, x: g * (bessel_j0(x) - _over(out, x, 0.5)),
    _WIDE,
    "The Bessel function of the first kind of order 1, minus the derivative of J₀.",
)
bessel_y0 = _bessel(
    "bessel_y0",
    lambda g, _out, x: -g * bessel_y1(x),
    _POSITIVE,
    "The Bessel function of the second kind of order 0; -∞ at 0, NaN below.",
)
bessel_y1: Callable[..., Tensor] = _bessel(
    "bessel_y1",
    lambda g, out, x: g * (bessel_y0(x) - out / x),
    _POSITIVE,
    "The Bessel function of the second kind of order 1; -∞ at 0, NaN below.",
)
i0 = _bessel(
    "i0",
    lambda g, _out, x: g * i1(x),
    _WIDE,
    "The modified Bessel function of the first kind of order 0: Σ (x²/4)ᵏ / (k!)² over k ≥ 0.",
    methods=True,
)
i0e = _bessel(
    "i0e",
    lambda g, out, x: g * (i1e(x) - x.sgn() * out),
    _WIDE,
    "The modified Bessel function I₀, scaled: I₀(x) e^-|x|.",
)
i1: Callable[..., Tensor] = _bessel(
    "i1",
    lambda g, out, x: g * (i0(x) - _over(out, x, 0.5)),
    _WIDE,
    "The modified Bessel function of the first kind of order 1, the derivative of I₀.",
)
i1e: Callable[..., Tensor] = _bessel(
    "i1e",
    lambda g, out, x: g * (i0e(x) - x.sgn() * out - _over(out, x, 0.5)),
    _WIDE,
    "The modified Bessel function I₁, scaled: I₁(x) e^-|x|.",
)
modified_bessel_k0 = _bessel(
    "modified_bessel_k0",
    lambda g, _out, x: -g * modified_bessel_k1(x),
    _POSITIVE,
    "The modified Bessel function of the second kind of order 0; ∞ at 0, NaN below.",
)
modified_bessel_k1: Callable[..., Tensor] = _bessel(
    "modified_bessel_k1",
    lambda g, out, x: -g * (modified_bessel_k0(x) + out / x),
    _POSITIVE,
    "The modified Bessel function of the second kind of order 1; ∞ at 0, NaN below.",
)
scaled_modified_bessel_k0 = _bessel(
    "scaled_modified_bessel_k0",
    lambda g, out, x: g * (out - scaled_modified_bessel_k1(x)),
    _POSITIVE,
    "The modified Bessel function K₀, scaled: K₀(x) eˣ.",
)
scaled_modified_bessel_k1: Callable[..., Tensor] = _bessel(
    "scaled_modified_bessel_k1",
    lambda g, out, x: g * (out - scaled_modified_bessel_k0(x) - out / x),
    _POSITIVE,
    "The modified Bessel function K₁, scaled: K₁(x) eˣ.",
)
airy_ai = _bessel("airy_ai", None, _WIDE, "The Airy function Ai: the solution of y″ = x y that vanishes at +∞.")
