"""Inverse trigonometric and hyperbolic functions, and the functions of two sides of a triangle."""

from __future__ import annotations

import math
from typing import Any

from torchlite._tensor import Tensor
from torchlite.ir import FLOAT32_ON_CUDA, Autocast
from torchlite.ops.arithmetic import where
from torchlite.ops.construct import binary, unary
from torchlite.ops.half_precision import rounded_once, widened

asin = unary(
    "asin",
    lambda g, _out, x: g * (1 - x * x).rsqrt().conj(),
    ufunc="arcsin",
    to_float=True,
    scalar="asin(x)",
    onnx="Asin",
    domain=(-0.8, 0.8),
    autocast=FLOAT32_ON_CUDA,
    doc="The angle in [-π/2, π/2] whose sine is x; NaN outside [-1, 1].",
)
acos = unary(
    "acos",
    lambda g, _out, x: -g * (1 - x * x).rsqrt().conj(),
    ufunc="arccos",
    to_float=True,
    scalar="acos(x)",
    onnx="Acos",
    domain=(-0.8, 0.8),
    autocast=FLOAT32_ON_CUDA,
    doc="The angle in [0, π] whose cosine is x; NaN outside [-1, 1].",
)
atan = unary(
    "atan",
    lambda g, _out, x: g / (x * x + 1).conj(),
    ufunc="arctan",
    to_float=True,
    scalar="atan(x)",
    onnx="Atan",
    doc="The angle in (-π/2, π/2) whose tangent is x.",
)
sinh = unary(
    "sinh",
    lambda g, _out, x: g * x.cosh().conj(),
    ufunc="sinh",
    to_float=True,
    scalar="sinh(x)",
    onnx="Sinh",
    autocast=FLOAT32_ON_CUDA,
    doc="(eˣ - e⁻ˣ) / 2.",
)
cosh = unary(
    "cosh",
    lambda g, _out, x: g * x.sinh().conj(),
    ufunc="cosh",
    to_float=True,
    scalar="cosh(x)",
    onnx="Cosh",
    autocast=FLOAT32_ON_CUDA,
    doc="(eˣ + e⁻ˣ) / 2.",
)
asinh = unary(
    "asinh",
    lambda g, _out, x: g * (x * x + 1).rsqrt().conj(),
    ufunc="arcsinh",
    to_float=True,
    scalar="asinh(x)",
    onnx="Asinh",
    doc="The number whose hyperbolic sine is x.",
)
acosh = unary(
    "acosh",
    lambda g, _out, x: g * _slope_of_acosh(x).conj(),
    ufunc="arccosh",
    to_float=True,
    scalar="acosh(x)",
    onnx="Acosh",
    domain=(1.2, 3.0),
    doc="The number ≥ 0 whose hyperbolic cosine is x; NaN below 1.",
)
atanh = unary(
    "atanh",
    lambda g, _out, x: g / (1 - x * x).conj(),
    ufunc="arctanh",
    to_float=True,
    scalar="atanh(x)",
    onnx="Atanh",
    domain=(-0.8, 0.8),
    doc="The number whose hyperbolic tangent is x; NaN outside [-1, 1].",
)
atan2 = binary(
    "atan2",
    (
        lambda g, _out, x, y: _across(g, y, x),
        lambda g, _out, x, y: _across(-g, x, y),
    ),
    ufunc="arctan2",
    to_float=True,
    scalar="atan2(x, y)",
    domain=(0.3, 2.0),
    numbers="neither",
    autocast=Autocast(cuda="widest"),
    doc="The angle in (-π, π] of the point (y, x): atan(x / y) in the right quadrant.",
)


@rounded_once
def _across(g: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """g x / (x² + y²) without squares, which overflow or vanish; 0 at the origin, as in PyTorch."""
    radius = hypot(x, y)
    return where(radius == 0, 0.0, g * (x / radius) / radius)


hypot = binary(
    "hypot",
    (
        lambda g, out, x, _y: g * (x / out),
        lambda g, out, _x, y: g * (y / out),
    ),
    ufunc="hypot",
    scalar="hypot(x, y)",
    domain=(0.3, 2.0),
    numbers="neither",
    doc="√(x² + y²), without overflow of the squares.",
)
sinc = unary(
    "sinc",
    lambda g, _out, x: g * _slope_of_sinc(x).conj(),
    run=widened(lambda xp, x: xp.sinc(x).astype(x.dtype, copy=False)),
    to_float=True,
    domain=(0.2, 2.0),
    doc="sin(πx) / (πx); 1 at 0.",
)
deg2rad = unary(
    "deg2rad",
    lambda g, _out, _x: g * (math.pi / 180),
    run=widened(lambda xp, x: xp.multiply(x, x.dtype.type(math.pi / 180))),
    to_float=True,
    doc="Degrees as radians: x · π / 180.",
)
rad2deg = unary(
    "rad2deg",
    lambda g, _out, _x: g * (180 / math.pi),
    run=widened(lambda xp, x: xp.multiply(x, x.dtype.type(180 / math.pi))),
    to_float=True,
    doc="Radians as degrees: x · 180 / π.",
)


def _slope_of_acosh(x: Tensor) -> Tensor:
    """1 / √(x² - 1), of complex numbers in the half of the plane in which `acosh` has its values."""
    if x.is_complex():
        return (x - 1).rsqrt() * (x + 1).rsqrt()
    return (x * x - 1).rsqrt()


def _slope_of_sinc(x: Tensor) -> Any:
    at_zero = x == 0
    angle = where(at_zero, 1.0, x) * math.pi
    return where(at_zero, 0.0, (angle.cos() - angle.sin() / angle) / where(at_zero, 1.0, x))
