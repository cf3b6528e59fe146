"""The gamma function's logarithm, and the complement and inverse of the error function."""

from __future__ import annotations

import math

from torchlite import backends
from torchlite.ops.construct import unary

digamma = unary(
    "digamma",
    run=lambda xp, x: backends.special(xp, "digamma", x),
    to_float=True,
    domain=(0.5, 4.0),
    doc="The derivative of ln Γ(x).",
)
erfc = unary(
    "erfc",
    lambda g, _out, x: g * (-2 / math.sqrt(math.pi)) * (-x * x).exp(),
    run=lambda xp, x: backends.special(xp, "erfc", x),
    to_float=True,
    scalar="erfc(x)",
    doc="1 - erf(x), without cancellation.",
)
erfinv = unary(
    "erfinv",
    lambda g, out, _x: g * (math.sqrt(math.pi) / 2) * (out * out).exp(),
    run=lambda xp, x: backends.special(xp, "erfinv", x),
    to_float=True,
    domain=(-0.9, 0.9),
    doc="The number whose error function is x; NaN outside [-1, 1].",
)
