"""What the half-normal and the half-Cauchy distribution share."""

from __future__ import annotations

import math
from typing import Any

from torchlite._tensor import Tensor
from torchlite.distributions import constraints
from torchlite.distributions.distribution import Distribution
from torchlite.distributions.transformed_distribution import TransformedDistribution
from torchlite.distributions.transforms import AbsTransform
from torchlite.ops.arithmetic import where


class Folded(TransformedDistribution):
    """The absolute value of a number whose distribution is symmetric around 0 and has a ``scale``."""

    arg_constraints = {"scale": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, base_distribution: Distribution, validate_args: bool | None) -> None:
        super().__init__(base_distribution, AbsTransform(), validate_args)

    @property
    def scale(self) -> Tensor:
        """That of the base."""
        return self.base_dist.scale

    @property
    def mode(self) -> Tensor:
        """0."""
        return self.scale.new_zeros(self.scale.shape)

    def log_prob(self, value: Any) -> Tensor:
        """The logarithm of twice the density of the base; -∞ below 0."""
        self._validate_sample(value)
        return where(value >= 0, self.base_dist.log_prob(value) + math.log(2), -math.inf)

    def cdf(self, value: Tensor) -> Tensor:
        """2·F(x) - 1."""
        self._validate_sample(value)
        return 2 * self.base_dist.cdf(value) - 1

    def icdf(self, value: Tensor) -> Tensor:
        """The base's quantile of (u + 1) / 2."""
        return self.base_dist.icdf((value + 1) / 2)

    def entropy(self) -> Tensor:
        """That of the base, less log 2."""
        return self.base_dist.entropy() - math.log(2)
