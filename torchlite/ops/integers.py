"""Arithmetic of integers: divisors, multiples and shifts of bits."""

from __future__ import annotations

from typing import Any

from torchlite._tensor import Tensor, method
from torchlite.ops.arithmetic import reflected
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


for _side, _function in {"l": bitwise_left_shift, "r": bitwise_right_shift}.items():
    method(f"__{_side}shift__")(_function)
    method(f"__r{_side}shift__")(reflected(_function))
    method(f"__i{_side}shift__")(getattr(Tensor, f"{_function.__name__}_"))
