"""The complement and inverse of the error function, and their forms for the normal distribution."""

from __future__ import annotations

import math

from torchlite.backends.special import evaluate
from torchlite.ir import FLOAT32_ON_CUDA
from torchlite.ops.construct import unary

erfc = unary(
    "erfc",
    lambda g, _out, x: g * (-2 / math.sqrt(math.pi)) * (-x * x).exp(),
    run=lambda xp, x: evaluate(xp, "erfc", x),
    to_float=True,
    scalar="erfc(x)",
    doc="1 - erf(x), without cancellation.",
)
erfinv = unary(
    "erfinv",
    lambda g, out, _x: g * (math.sqrt(math.pi) / 2) * (out * out).exp(),
    run=lambda xp, x: evaluate(xp, "erfinv", x),
    to_float=True,
    domain=(-0.9, 0.9),
    autocast=FLOAT32_ON_CUDA,
    doc="The number whose error function is x; NaN outside [-1, 1].",
)
erfcx = unary(
    "erfcx",
    lambda g, out, x: g * (2 * x * out - 2 / math.sqrt(math.pi)),
    run=lambda xp, x: evaluate(xp, "erfcx", x),
    to_float=True,
    methods=False,
    doc="exp(x²) erfc(x), which falls off like 1 / (x √π).",
)
ndtri = unary(
    "ndtri",
    lambda g, out, _x: g * math.sqrt(2 * math.pi) * (out * out * 0.5).exp(),
    run=lambda xp, x: evaluate(xp, "ndtri", x),
    to_float=True,
    methods=False,
    domain=(0.05, 0.95),
    doc="The number below which the standard normal distribution has the probability x; NaN outside [0, 1].",
)
log_ndtr = unary(
    "log_ndtr",
    lambda g, _out, x: g * (math.sqrt(2 / math.pi) / erfcx(x * -math.sqrt(0.5))),
    run=lambda xp, x: evaluate(xp, "log_ndtr", x),
    to_float=True,
    methods=False,
    doc="The logarithm of the standard normal distribution function, without underflow.",
)
