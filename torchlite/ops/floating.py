"""Elementwise functions about the parts and neighbours of floating-point numbers, and stable exponentials."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np

from torchlite import return_types
from torchlite._tensor import Tensor, method
from torchlite.dispatch import apply
from torchlite.ir import Aval, Op, Sample, register
from torchlite.ops.arithmetic import divisor, where
from torchlite.ops.construct import binary, no_slope, unary
from torchlite.ops.destination import OutDtype, takes_out_as
from torchlite.ops.half_precision import HALVES, cast, widened
from torchlite.ops.mutation import inplace

exp2 = unary(
    "exp2",
    lambda g, out, _x: g * out.conj() * math.log(2),
    ufunc="exp2",
    to_float=True,
    scalar="exp2(x)",
    doc="2ˣ.",
)
frac = unary(
    "frac",
    lambda g, _out, _x: g,
    run=lambda xp, x: x - xp.trunc(x),
    scalar="x - trunc(x)",
    domain=(0.2, 0.8),
    doc="x without its integer part: x - trunc(x).",
)
signbit = unary(
    "signbit",
    run=lambda xp, x: _run_signbit(xp, x),
    result=bool,
    as_in_place=False,
    doc="Whether the sign of x is minus.",
)
isposinf = unary(
    "isposinf",
    run=lambda xp, x: _equals(xp, x, np.inf),
    result=bool,
    as_in_place=False,
    doc="Whether x is positive infinity.",
)
isneginf = unary(
    "isneginf",
    run=lambda xp, x: _equals(xp, x, -np.inf),
    result=bool,
    as_in_place=False,
    doc="Whether x is negative infinity.",
)
fmod = binary(
    "fmod",
    (lambda g, _out, _x, _y: g, lambda g, _out, x, y: -g * (x / y).trunc()),
    run=lambda xp, x, y: xp.fmod(x, divisor(xp, y)),
    scalar="fmod(x, y)",
    domain=(0.6, 0.9),
    numbers="other",
    doc="x - y·trunc(x / y): the remainder with the sign of the dividend.",
)
fmax = binary(
    "fmax",
    (
        lambda g, _out, x, y: where((x >= y) | y.isnan(), g, 0.0),
        lambda g, _out, x, y: where((x >= y) | y.isnan(), 0.0, g),
    ),
    ufunc="fmax",
    as_in_place=False,
    scalar="fmax(x, y)",
    numbers="neither",
    doc="The larger of x and y; the other one where one is NaN.",
)
fmin = binary(
    "fmin",
    (
        lambda g, _out, x, y: where((x <= y) | y.isnan(), g, 0.0),
        lambda g, _out, x, y: where((x <= y) | y.isnan(), 0.0, g),
    ),
    ufunc="fmin",
    as_in_place=False,
    scalar="fmin(x, y)",
    numbers="neither",
    doc="The smaller of x and y; the other one where one is NaN.",
)
copysign = binary(
    "copysign",
    (
        lambda g, out, x, _y: where(x == 0, 0.0, g * (out / x)),
        no_slope,
    ),
    ufunc="copysign",
    to_float=True,
    scalar="copysign(x, y)",
    domain=(0.2, 2.0),
    numbers="other",
    doc="|x| with the sign of y.",
)


def _beside(xp: Any, x: Any, y: Any) -> Any:
    if x.dtype not in HALVES:
        return xp.nextafter(x, y)
    x, y = xp.broadcast_arrays(x, y)
    wide, other = (cast(xp, v, dtype=np.dtype(np.float32)) for v in (x, y))
    bits = x.view(np.int16)
    away = (other > wide) == (wide > 0)  # from zero
    least = xp.where(other > 0, np.int16(1), np.int16(-0x7FFF))  # the denormal numbers beside zero
    moved = xp.where(wide == 0, least, bits + xp.where(away, np.int16(1), np.int16(-1)))
    found = xp.where((wide == other) | xp.isnan(other), y.view(np.int16), moved)
    return xp.where(xp.isnan(wide), bits, found).view(x.dtype)


nextafter = binary(
    "nextafter",
    (
        lambda g, _out, x, y: where(x == y, 0.0, g),
        lambda g, _out, x, y: where(x == y, g, 0.0),
    ),
    run=_beside,
    numbers="neither",
    doc="The float beside x towards y.",
)
heaviside = binary(
    "heaviside",
    out_dtype=OutDtype.SAME,
    run=lambda xp, x, y: _run_heaviside(xp, x, y),
    numbers="neither",
    doc="0 for x < 0, y at 0, 1 for x > 0.",
)
logaddexp = binary(
    "logaddexp",
    (
        lambda g, _out, x, y: g / ((y - x).exp() + 1),
        lambda g, _out, x, y: g / ((x - y).exp() + 1),
    ),
    ufunc="logaddexp",
    as_in_place=False,
    numbers="neither",
    doc="ln(eˣ + eʸ), without overflow.",
)
logaddexp2 = binary(
    "logaddexp2",
    (
        lambda g, _out, x, y: g / ((y - x).exp2() + 1),
        lambda g, _out, x, y: g / ((x - y).exp2() + 1),
    ),
    ufunc="logaddexp2",
    as_in_place=False,
    numbers="neither",
    doc="log₂(2ˣ + 2ʸ), without overflow.",
)
log_odds = unary(
    "log_odds",
    lambda g, _out, x: where((x >= 0) & (x <= 1), g / (x * (1 - x)), math.nan),
    run=lambda xp, x: xp.log(x / (1 - x)),
    to_float=True,
    methods=False,
    domain=(0.2, 0.8),
    doc="ln(x / (1 - x)), PyTorch's logit; NaN outside [0, 1], and so is its gradient.",
)
_nan_to_num = register(
    Op(
        "nan_to_num",
        "elementwise",
        run=widened(lambda xp, x, *, nan, posinf, neginf: xp.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf)),
        infer=lambda x, *, nan, posinf, neginf: x,  # noqa: ARG005
        vjp=(lambda g, _out, x, nan, posinf, neginf: where(x.isfinite(), g, 0.0),),  # noqa: ARG005
        samples=lambda rng: [Sample((rng.normal(size=(3, 4)),), {"nan": 0.0, "posinf": 1.0, "neginf": -1.0})],
        doc="x with NaN and the infinities replaced.",
    )
)
_frexp = register(
    Op(
        "frexp",
        "elementwise",
        run=lambda xp, x: tuple(xp.frexp(x)),
        infer=lambda x: (x, Aval(x.shape, np.dtype(np.int32), x.device)),
        vjp=(lambda g, out, x: None if g[0] is None else g[0] / (out[1].to(g[0].dtype).exp2()),),  # noqa: ARG005
        samples=lambda rng: [Sample((rng.uniform(1.1, 1.9, (3, 4)),), {})],
        doc="Mantissa in ±[0.5, 1) and exponent of x = mantissa · 2^exponent.",
    )
)


def _run_signbit(xp: Any, x: Any) -> Any:
    return xp.signbit(x) if x.dtype.kind not in "biu" else x < 0


def _equals(xp: Any, x: Any, value: float) -> Any:
    return x == value if x.dtype.kind not in "biu" else xp.zeros(x.shape, bool)


@widened
def _run_heaviside(xp: Any, x: Any, y: Any) -> Any:
    step = xp.where(x == 0, y, (x > 0).astype(x.dtype))
    return xp.where(x != x, x.dtype.type(0), step)


@takes_out_as(OutDtype.SAME)
@method()
def nan_to_num(
    input: Tensor, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """``input`` with NaN as 0 (or ``nan``) and the infinities as the largest finite numbers (or those given)."""
    if input._data.dtype.kind in "biu":
        return input.clone()
    largest = float(ml_dtypes.finfo(input._data.dtype).max)  # type: ignore[no-untyped-call]
    limits = {
        "nan": 0.0 if nan is None else nan,
        "posinf": largest if posinf is None else posinf,
        "neginf": -largest if neginf is None else neginf,
    }
    return apply(_nan_to_num, (input,), limits)


method("nan_to_num_")(inplace(nan_to_num))


@takes_out_as(OutDtype.SAME)
@method()
def frexp(input: Tensor) -> return_types.Results:
    """The mantissas in ±[0.5, 1) and the int32 exponents: ``input`` = mantissa · 2^exponent.

    Raises:
        RuntimeError: for a tensor that is not floating-point.
    """
    if not input.is_floating_point():
        raise RuntimeError(f"torch.frexp() only supports floating-point dtypes, got {input.dtype}")
    return return_types.frexp(apply(_frexp, (input,)))
