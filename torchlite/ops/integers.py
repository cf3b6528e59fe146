"""Arithmetic of integers: divisors, multiples and shifts of bits."""

from __future__ import annotations

from typing import Any

from torchlite._tensor import method
from torchlite.ops.construct import binary

_INTEGERS = (1.0, 8.0)
gcd = binary(
    "gcd", ufunc="gcd", domain=_INTEGERS, numbers="neither", doc="The greatest common divisor of two integers."
)
lcm = binary("lcm", ufunc="lcm", domain=_INTEGERS, numbers="neither", doc="The least common multiple of two integers.")
bitwise_left_shift = binary(
    "bitwise_left_shift",
    run=lambda xp, x, y: _shifted(xp.left_shift, x, y),
    scalar="x << y",
    domain=_INTEGERS,
    doc="x · 2^y of integers.",
)
bitwise_right_shift = binary(
    "bitwise_right_shift",
    run=lambda xp, x, y: _shifted(xp.right_shift, x, y),
    scalar="x >> y",
    domain=_INTEGERS,
    doc="⌊x / 2^y⌋ of integers.",
)


def _shifted(shift: Any, x: Any, y: Any) -> Any:
    if x.dtype.kind not in "iu":
        raise RuntimeError(f"bitwise shifts need integers, got {x.dtype}")
    return shift(x, y)


method("__lshift__")(bitwise_left_shift)
method("__rshift__")(bitwise_right_shift)
