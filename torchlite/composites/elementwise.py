"""Elementwise functions composed of others, and PyTorch's second names."""

from __future__ import annotations

import math
from typing import Any

from torchlite import dtypes
from torchlite._tensor import Tensor, method
from torchlite.autocasting import autocasts
from torchlite.integers import takes_integers
from torchlite.ir import Autocast
from torchlite.ops.arithmetic import abs, clamp, neg, pow
from torchlite.ops.comparison import ge, gt, le, lt, ne
from torchlite.ops.construct import common_dtype, refuse_numbers
from torchlite.ops.destination import takes_out
from torchlite.ops.floating import exp2, log_odds
from torchlite.ops.gamma import lgamma
from torchlite.ops.mutation import inplace
from torchlite.ops.pointwise import trunc
from torchlite.ops.trigonometry import acos, acosh, asin, asinh, atan, atan2, atanh

absolute, negative, clip, fix = abs, neg, clamp, trunc
arccos, arcsin, arctan, arctan2, arccosh, arcsinh, arctanh = acos, asin, atan, atan2, acosh, asinh, atanh
greater, greater_equal, less, less_equal, not_equal = gt, ge, lt, le, ne
_SECOND_NAMES = {
    "absolute": "abs", "negative": "neg", "fix": "trunc", "arccos": "acos", "arcsin": "asin", "arctan": "atan",
    "arctan2": "atan2", "arccosh": "acosh", "arcsinh": "asinh", "arctanh": "atanh", "greater": "gt",
    "greater_equal": "ge", "less": "lt", "less_equal": "le", "not_equal": "ne",
}  # fmt: skip
for _name, _first_name in _SECOND_NAMES.items():
    method(_name)(getattr(Tensor, _first_name))
    method(f"{_name}_")(getattr(Tensor, f"{_first_name}_"))


@method()
def positive(input: Tensor) -> Tensor:
    """``input`` itself.

    Raises:
        RuntimeError: for a bool tensor.
    """
    if input.dtype is dtypes.bool_:
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


@takes_out
@method()
def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """ln(p / (1 - p)), with p limited to [eps, 1 - eps] where ``eps`` is given; the inverse of sigmoid."""
    if eps is not None and input._data.dtype.kind in "biu":
        input = input.to(dtypes.get_default_dtype())
    return log_odds(input if eps is None else clamp(input, eps, 1 - eps))


@takes_out
@method()
@takes_integers
def mvlgamma(input: Tensor, p: int) -> Tensor:
    """The logarithm of the gamma function of dimension ``p``: p (p - 1) / 4 ln π + Σ ln Γ(x - j / 2) over j < p.

    Raises:
        RuntimeError: for ``p`` below 1.
    """
    if p < 1:
        raise RuntimeError(f"mvlgamma: p has to be greater than or equal to 1, got {p}")
    if input._data.dtype.kind in "biu":
        input = input.to(dtypes.get_default_dtype())
    total = lgamma(input)
    for j in range(1, p):
        total = total + lgamma(input - 0.5 * j)
    return total + p * (p - 1) / 4 * math.log(math.pi)


@takes_out
@method()
@autocasts(Autocast(cuda="as given"))
def ldexp(input: Tensor, other: Tensor) -> Tensor:
    """Input · 2^other."""
    refuse_numbers("ldexp", input, other)
    power: Tensor = exp2(other)
    return input * power


@takes_out
@method()
def float_power(input: Any, exponent: Any) -> Tensor:
    """``input`` to the power ``exponent``, computed in float64 (complex128 for complex numbers)."""
    base, power = (v.to(_wide(input, exponent)) if isinstance(v, Tensor) else v for v in (input, exponent))
    return pow(base, power)


def _wide(input: Any, exponent: Any) -> dtypes.dtype:
    return dtypes.complex128 if dtypes.category(common_dtype((input, exponent))) == 3 else dtypes.float64


@method()
def float_power_(self: Tensor, exponent: Any) -> Tensor:
    """In-place form of `float_power`.

    Raises:
        RuntimeError: for a tensor that can't hold its result.
    """
    wide = _wide(self, exponent)
    if self.dtype is not wide:
        raise RuntimeError(
            f"the base given to float_power_ has dtype {self.dtype} but the operation's result requires dtype {wide}"
        )
    return inplace(float_power)(self, exponent)


method("logit_")(inplace(logit))
method("mvlgamma_")(inplace(mvlgamma))
method("ldexp_")(inplace(ldexp))
