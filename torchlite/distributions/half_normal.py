"""The half-normal distribution."""

from __future__ import annotations

import math
from typing import Any

from torchlite._tensor import Tensor
from torchlite.distributions.folded import Folded
from torchlite.distributions.normal import Normal


class HalfNormal(Folded):
    """The absolute value of a normal number with mean 0."""

    def __init__(self, scale: Any, validate_args: bool | None = None) -> None:
        super().__init__(Normal(0, scale, validate_args=False), validate_args)

    @property
    def mean(self) -> Tensor:
        """scale·√(2/π)."""
        return self.scale * math.sqrt(2 / math.pi)

    @property
    def variance(self) -> Tensor:
        """scale²·(1 - 2/π)."""
        return self.scale**2 * (1 - 2 / math.pi)
