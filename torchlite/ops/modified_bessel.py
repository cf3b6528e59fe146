"""The modified Bessel functions of the first kind, of orders 0 and 1."""

from __future__ import annotations

from collections.abc import Callable

from torchlite._tensor import Tensor
from torchlite.backends.special import evaluate
from torchlite.ops.arithmetic import where
from torchlite.ops.construct import unary

i0 = unary(
    "i0",
    lambda g, _out, x: g * i1(x),
    run=lambda xp, x: evaluate(xp, "i0", x),
    to_float=True,
    doc="The modified Bessel function of the first kind of order 0: Σ (x²/4)ᵏ / (k!)² over k ≥ 0.",
)
i0e = unary(
    "i0e",
    lambda g, out, x: g * (i1e(x) - x.sgn() * out),
    run=lambda xp, x: evaluate(xp, "i0e", x),
    to_float=True,
    methods=False,
    domain=(0.2, 3.0),
    doc="The modified Bessel function I₀, scaled: I₀(x) e^-|x|.",
)
i1: Callable[..., Tensor] = unary(
    "i1",
    lambda g, out, x: g * (i0(x) - _over(out, x, 0.5)),
    run=lambda xp, x: evaluate(xp, "i1", x),
    to_float=True,
    methods=False,
    domain=(0.2, 3.0),
    doc="The modified Bessel function of the first kind of order 1, the derivative of I₀.",
)
i1e: Callable[..., Tensor] = unary(
    "i1e",
    lambda g, out, x: g * (i0e(x) - x.sgn() * out - _over(out, x, 0.5)),
    run=lambda xp, x: evaluate(xp, "i1e", x),
    to_float=True,
    methods=False,
    domain=(0.2, 3.0),
    doc="The modified Bessel function I₁, scaled: I₁(x) e^-|x|.",
)


def _over(y: Tensor, x: Tensor, at_zero: float) -> Tensor:
    """Y / x, with its limit at x = 0."""
    is_zero = x == 0
    return where(is_zero, at_zero, y / where(is_zero, 1.0, x))
