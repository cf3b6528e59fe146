"""Functions of one tensor, element by element."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from torchlite import backends
from torchlite._tensor import Tensor, method
from torchlite.backends.native import accelerated
from torchlite.dispatch import apply
from torchlite.integers import integer
from torchlite.ir import FLOAT32_ON_CUDA, Aval, Op, Sample, broadcast_shapes, register
from torchlite.ops.construct import no_slope, unary
from torchlite.ops.destination import OutDtype, takes_out_as
from torchlite.ops.half_precision import BFLOAT16, FEWEST, rounded_once, widened
from torchlite.ops.mutation import inplace

# Made once for each dtype: making one costs as much as the maximum of a small array.
_ZEROS: dict[Any, Any] = {}


def _relu(xp: Any, x: Any) -> Any:
    zero = _ZEROS.get(x.dtype)
    if zero is None:
        zero = _ZEROS[x.dtype] = np.zeros((), x.dtype)
    return np.maximum(x, zero) if xp is np else xp.maximum(x, x.dtype.type(0))


@accelerated("elementwise.sigmoid")
def run_sigmoid(xp: Any, x: Any) -> Any:
    """1 / (1 + e⁻ˣ) of an array."""
    # e⁻ˣ overflows to infinity for very negative x, and 1/(1 + inf) = 0 is right.
    one = x.dtype.type(1)
    return one / (one + xp.exp(-x))


exp = unary(
    "exp",
    lambda g, out, _x: g * out.conj(),
    ufunc="exp",
    quiet=False,
    to_float=True,
    scalar="exp(x)",
    onnx="Exp",
    autocast=FLOAT32_ON_CUDA,
    doc="eˣ.",
)
expm1 = unary(
    "expm1",
    lambda g, out, _x: g * (out + 1).conj(),
    ufunc="expm1",
    to_float=True,
    scalar="expm1(x)",
    autocast=FLOAT32_ON_CUDA,
    doc="eˣ - 1.",
)
log = unary(
    "log",
    lambda g, _out, x: g / x.conj(),
    ufunc="log",
    to_float=True,
    scalar="log(x)",
    onnx="Log",
    domain=(0.3, 3.0),
    autocast=FLOAT32_ON_CUDA,
    doc="Natural logarithm; -inf at 0, NaN below.",
)
log1p = unary(
    "log1p",
    lambda g, _out, x: g / (x + 1).conj(),
    ufunc="log1p",
    to_float=True,
    scalar="log1p(x)",
    domain=(-0.5, 2.0),
    autocast=FLOAT32_ON_CUDA,
    doc="ln(1 + x).",
)
log2 = unary(
    "log2",
    lambda g, _out, x: g / (x.conj() * math.log(2)),
    ufunc="log2",
    to_float=True,
    scalar="log2(x)",
    domain=(0.3, 3.0),
    autocast=FLOAT32_ON_CUDA,
    doc="Logarithm to base 2.",
)
log10 = unary(
    "log10",
    lambda g, _out, x: g / (x.conj() * math.log(10)),
    ufunc="log10",
    to_float=True,
    scalar="log10(x)",
    domain=(0.3, 3.0),
    autocast=FLOAT32_ON_CUDA,
    doc="Logarithm to base 10.",
)
sin = unary(
    "sin",
    lambda g, _out, x: g * x.cos().conj(),
    ufunc="sin",
    quiet=False,
    to_float=True,
    scalar="sin(x)",
    onnx="Sin",
    doc="Sine of x in radians.",
)
cos = unary(
    "cos",
    lambda g, _out, x: -g * x.sin().conj(),
    ufunc="cos",
    quiet=False,
    to_float=True,
    scalar="cos(x)",
    onnx="Cos",
    doc="Cosine of x in radians.",
)
tan = unary(
    "tan",
    lambda g, out, _x: g * (out * out + 1).conj(),
    ufunc="tan",
    to_float=True,
    scalar="tan(x)",
    onnx="Tan",
    domain=(-1.2, 1.2),
    autocast=FLOAT32_ON_CUDA,
    doc="Tangent of x in radians.",
)
tanh = unary(
    "tanh",
    lambda g, out, _x: g * (1 - out * out).conj() if out.is_complex() else apply(_tanh_grad, (g, out)),
    ufunc="tanh",
    quiet=False,
    to_float=True,
    scalar="tanh(x)",
    onnx="Tanh",
    doc="Hyperbolic tangent.",
)
sigmoid = unary(
    "sigmoid",
    lambda g, out, _x: g * (out * (1 - out)).conj() if out.is_complex() else apply(_sigmoid_grad, (g, out)),
    run=widened(run_sigmoid),
    to_float=True,
    scalar="1 / (1 + exp(-x))",
    onnx="Sigmoid",
    doc="1 / (1 + e⁻ˣ).",
)
relu = unary(
    "relu",
    lambda g, out, _x: apply(_relu_grad, (g, out)),
    run=accelerated("bfloat16.relu", least=FEWEST, of=BFLOAT16)(widened(_relu)),
    quiet=False,
    scalar="x > 0 || x != x ? x : 0",
    onnx="Relu",
    domain=(0.1, 2.0),
    doc="max(x, 0); the gradient at 0 is 0, at NaN that of NaN.",
)
erf = unary(
    "erf",
    lambda g, _out, x: g * (2 / math.sqrt(math.pi)) * (-x * x).exp(),
    run=widened(accelerated("elementwise.erf")(lambda xp, x: backends.erf(xp, x))),
    to_float=True,
    scalar="erf(x)",
    onnx="Erf",
    doc="2/√π ∫₀ˣ exp(-t²) dt.",
)


def _by_result(
    name: str,
    run: Callable[..., Any],
    vjp_result: Any,
    doc: str,
    half: Callable[[Callable[..., Any]], Callable[..., Any]] = lambda run: run,
) -> Op:
    """The operator ``(g, out)`` of a cotangent and a result.

    Args:
        name, run, doc: as in `Op`.
        vjp_result: the rule of the result.
        half: decorates how half types run.
    """
    op = register(
        Op(
            name,
            "elementwise",
            run=half(widened(accelerated(f"elementwise.{name}", least=1 << 13)(run))),
            infer=lambda g, out: Aval(broadcast_shapes(name, g.shape, out.shape), out.dtype, out.device),
            vjp=(lambda h, _out, _g, out: apply(op, (h, out)), vjp_result),
            samples=lambda rng: [
                Sample((rng.normal(size=shape), rng.choice([-1.0, 1.0], shape) * rng.uniform(0.1, 0.9, shape)), {})
                for shape in ((3, 4), (), (0, 2))
            ],
            doc=doc,
        )
    )
    return op


_tanh_grad: Op = _by_result(
    "tanh_grad", lambda _xp, g, out: g * (1 - out * out), lambda h, _out, g, out: h * g * out * -2, "g · (1 - out²)."
)
_sigmoid_grad: Op = _by_result(
    "sigmoid_grad",
    lambda _xp, g, out: g * (out * (1 - out)),
    lambda h, _out, g, out: h * g * (1 - out * 2),
    "g · out (1 - out).",
)
_relu_grad: Op = _by_result(
    "relu_grad",
    lambda xp, g, out: backends.where(xp, out <= 0, xp.zeros((), g.dtype), g),  # so that NaN lets its gradient pass
    None,
    "g where out > 0 or NaN, else 0.",
    accelerated("bfloat16.relu_grad", least=FEWEST, of=BFLOAT16),
)
floor = unary("floor", no_slope, ufunc="floor", scalar="floor(x)", onnx="Floor", domain=(0.2, 0.8), doc="⌊x⌋.")
ceil = unary("ceil", no_slope, ufunc="ceil", scalar="ceil(x)", onnx="Ceil", domain=(0.2, 0.8), doc="⌈x⌉.")
trunc = unary("trunc", no_slope, ufunc="trunc", scalar="trunc(x)", domain=(0.2, 0.8), doc="x without its fraction.")
_round = unary(
    "round",
    no_slope,
    run=widened(lambda xp, x: xp.round(x)),
    methods=False,
    scalar="rint(x)",
    onnx="Round",
    domain=(0.6, 0.9),
    doc="The nearest integer; halves go to the even one.",
)
isnan = unary(
    "isnan",
    ufunc="isnan",
    result=bool,
    as_in_place=False,
    scalar="x != x",
    onnx="IsNaN",
    doc="Whether x is NaN.",
)
isinf = unary(
    "isinf",
    ufunc="isinf",
    result=bool,
    as_in_place=False,
    scalar="x == INFINITY || x == -INFINITY",
    onnx="IsInf",
    doc="Whether x is infinite.",
)
isfinite = unary(
    "isfinite",
    ufunc="isfinite",
    result=bool,
    as_in_place=False,
    scalar="x - x == 0",
    doc="Whether x is neither infinite nor NaN.",
)


@takes_out_as(OutDtype.SAME)
@method()
def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """The nearest number with ``decimals`` digits behind the point (before it where negative); halves go to even ones."""
    if decimals == 0:
        return _round(input)
    if input._data.dtype.kind in "biu":
        raise RuntimeError(f"round: decimals are not implemented for {input.dtype}")
    return _round_decimals(input, integer(decimals))


@rounded_once
def _round_decimals(input: Tensor, decimals: int) -> Tensor:
    scale = 10.0 ** builtins.abs(decimals)
    return _round(input * scale) / scale if decimals > 0 else _round(input / scale) * scale


method("round_")(inplace(round))
