"""The Laplace distribution."""

from __future__ import annotations

import math
from typing import Any

from torchlite._tensor import Tensor
from torchlite.distributions import constraints
from torchlite.distributions.distribution import Distribution
from torchlite.distributions.utils import broadcast_all
from torchlite.dtypes import finfo
from torchlite.ops.random import rand


class Laplace(Distribution):
    """Density exp(-|x - loc| / scale) / 2·scale."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        """``loc``."""
        return self.loc

    mode = mean

    @property
    def variance(self) -> Tensor:
        """2·scale²."""
        return self.scale**2 * 2

    @property
    def stddev(self) -> Tensor:
        """√2·scale."""
        return self.scale * math.sqrt(2)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Its `icdf` of a uniform number."""
        u = rand(self._extended_shape(sample_shape), dtype=self.loc.dtype, device=self.loc.device) * 2 - 1
        # u = -1 can be drawn, and its logarithm would be infinite.
        u = u.clamp(min=finfo(u.dtype).eps - 1)
        return self.loc - self.scale * u.sign() * (-u.abs()).log1p()

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the density."""
        self._validate_sample(value)
        return -(self.scale * 2).log() - (value - self.loc).abs() / self.scale

    def cdf(self, value: Tensor) -> Tensor:
        """½ + ½·sign(x - loc)·(1 - exp(-|x - loc| / scale))."""
        self._validate_sample(value)
        centred = value - self.loc
        return 0.5 - centred.sign() * (-centred.abs() / self.scale).expm1() * 0.5

    def icdf(self, value: Tensor) -> Tensor:
        """loc - scale·sign(p - ½)·log(1 - 2|p - ½|)."""
        term = value - 0.5
        return self.loc - self.scale * term.sign() * (term.abs() * -2).log1p()

    def entropy(self) -> Tensor:
        """1 + log 2·scale."""
        return (self.scale * 2).log() + 1
