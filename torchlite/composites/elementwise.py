"""Elementwise functions composed of others, and PyTorch's second names."""

from __future__ import annotations

import math
from typing import Any

from torchlite import dtypes
from torchlite._tensor import Tensor, method
from torchlite.ops.arithmetic import abs, clamp, neg, pow
from torchlite.ops.comparison import ge, gt, le, lt, ne
from torchlite.ops.construct import common_dtype
from torchlite.ops.destination import takes_out
from torchlite.ops.floating import log_odds
from torchlite.ops.gamma import lgamma
from torchlite.ops.mutation import inplace
from torchlite.ops.pointwise import trunc
from torchlite.ops.trigonometry import acos, acosh, asin, asinh, atan, atan2, atanh

absolute, negative, clip, fix = abs, neg, clamp, trunc
arccos, arcsin, arctan, arctan2, arccosh, arcsinh, arctanh = acos, asin, atan, atan2, acosh, asinh, atanh
greater, greater_equal, less, less_equal, not_equal = gt, ge, lt, le, ne
_SECOND_NAMES: dict[str, Any] = {
    "absolute": abs, "negative": neg, "fix": trunc, "arccos": acos, "arcsin": asin, "arctan": atan, "arctan2": atan2,
    "arccosh": acosh, "arcsinh": asinh, "arctanh": atanh, "greater": gt, "greater_equal": ge, "less": lt,
    "less_equal": le, "not_equal": ne,
}  # fmt: skip
for _name, _function in _SECOND_NAMES.items():
    method(_name)(_function)
    if hasattr(Tensor, f"{_function.__name__}_"):
        method(f"{_name}_")(getattr(Tensor, f"{_function.__name__}_"))


@method()
def positive(input: Tensor) -> Tensor:
    """``input`` itself.

    Raises:
        RuntimeError: for a bool tensor.
    """
    if input.dtype is dtypes.bool_:
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


@method()
def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """ln(p / (1 - p)), with p limited to [eps, 1 - eps] where ``eps`` is given; the inverse of sigmoid."""
    if eps is not None and input._data.dtype.kind in "biu":
        input = input.to(dtypes.get_default_dtype())
    return log_odds(input if eps is None else clamp(input, eps, 1 - eps))


@takes_out
@method()
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


@method()
def ldexp(input: Tensor, other: Tensor) -> Tensor:
    """Input · 2^other."""
    base: Tensor = pow(2.0, other)
    return input * base


@method()
def float_power(input: Any, exponent: Any) -> Tensor:
    """``input`` to the power ``exponent``, computed in float64 (complex128 for complex numbers)."""
    wide = dtypes.complex128 if dtypes.category(common_dtype((input, exponent))) == 3 else dtypes.float64
    base, power = (v.to(wide) if isinstance(v, Tensor) else v for v in (input, exponent))
    return pow(base, power)


method("logit_")(inplace(logit))
method("mvlgamma_")(inplace(mvlgamma))
method("ldexp_")(inplace(ldexp))

# The constructors of operators attach these as methods too; PyTorch has none of them.
for _name in ("log_odds", "log_odds_", "angle_", "fmax_", "fmin_", "logaddexp_", "logaddexp2_"):
    if hasattr(Tensor, _name):
        delattr(Tensor, _name)
