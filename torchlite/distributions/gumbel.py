"""The Gumbel distribution."""

from __future__ import annotations

import math
from typing import Any

from torchlite._tensor import Tensor
from torchlite.distributions import constraints
from torchlite.distributions.transformed_distribution import TransformedDistribution
from torchlite.distributions.transforms import AffineTransform, ExpTransform
from torchlite.distributions.uniform import Uniform
from torchlite.distributions.utils import broadcast_all, euler_constant
from torchlite.dtypes import finfo


class Gumbel(TransformedDistribution):
    """loc - scale·log(-log u) with u uniform in (0, 1)."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        limits, like = finfo(self.loc.dtype), self.loc.detach()
        low, high = like.new_full(like.shape, limits.tiny), like.new_full(like.shape, 1 - limits.eps)
        transforms = [
            ExpTransform().inv,
            AffineTransform(0, -like.new_ones(like.shape)),
            ExpTransform().inv,
            AffineTransform(self.loc, -self.scale),
        ]
        super().__init__(Uniform(low, high, validate_args), transforms, validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        """y - exp(y) - log scale with y = (loc - x) / scale."""
        self._validate_sample(value)
        y = (self.loc - value) / self.scale
        return (y - y.exp()) - self.scale.log()

    @property
    def mean(self) -> Tensor:
        """loc + γ·scale."""
        return self.loc + self.scale * euler_constant

    @property
    def mode(self) -> Tensor:
        """``loc``."""
        return self.loc

    @property
    def stddev(self) -> Tensor:
        """π·scale / √6."""
        return self.scale * (math.pi / math.sqrt(6))

    @property
    def variance(self) -> Tensor:
        """(π·scale)² / 6."""
        return self.stddev**2

    def entropy(self) -> Tensor:
        """log scale + 1 + γ."""
        return self.scale.log() + (1 + euler_constant)
