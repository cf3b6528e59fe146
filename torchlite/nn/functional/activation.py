"""Activation functions."""

from __future__ import annotations

import math

from torchlite._tensor import Tensor
from torchlite.ops.pointwise import erf, tanh


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x Φ(x), the Gaussian error linear unit (Hendrycks & Gimpel, 2016); "tanh" approximates Φ.

    Raises:
        RuntimeError: for another ``approximate`` than "none" or "tanh".
    """
    if approximate == "none":
        return input * (erf(input * math.sqrt(0.5)) + 1) * 0.5
    if approximate == "tanh":
        inner = (input + input * input * input * 0.044715) * math.sqrt(2 / math.pi)
        return input * (tanh(inner) + 1) * 0.5
    raise RuntimeError(f"approximate argument must be either none or tanh, got {approximate!r}")
