"""The generalized Pareto distribution."""

from __future__ import annotations

import math
from typing import Any

from torchlite._tensor import Tensor
from torchlite.distributions import constraints
from torchlite.distributions.distribution import Distribution
from torchlite.distributions.utils import broadcast_all
from torchlite.ops.arithmetic import where
from torchlite.ops.random import rand


class GeneralizedPareto(Distribution):
    """P(X > x) = (1 + concentration·z)^(-1/concentration) with z = (x - loc) / scale; exp(-z) at concentration 0."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive, "concentration": constraints.real}
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale, self.concentration = broadcast_all(loc, scale, concentration)
        super().__init__(self.loc.shape, (), validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> constraints.Constraint:
        """From ``loc`` up; to loc - scale / concentration where the concentration is negative."""
        upper = where(self.concentration < 0, self.loc - self.scale / self.concentration, math.inf)
        return constraints.interval(self.loc, upper)

    def _zero(self) -> tuple[Tensor, Tensor]:
        """Where the concentration is taken for 0, and the concentration with 1 there."""
        zero = self.concentration.detach().abs() <= 1e-8
        return zero, where(zero, 1.0, self.concentration)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """The quantiles of uniform numbers."""
        return self.icdf(rand(self._extended_shape(sample_shape), dtype=self.loc.dtype, device=self.loc.device))

    def log_prob(self, value: Tensor) -> Tensor:
        """-(1 + 1/concentration)·log(1 + concentration·z) - log scale."""
        self._validate_sample(value)
        z = (value - self.loc) / self.scale
        zero, c = self._zero()
        power = 1 / c + 1
        exact = where(power == 0, 0.0, power * (c * z).log1p())
        return -self.scale.log() - where(zero, z, exact)

    def log_survival_function(self, value: Tensor) -> Tensor:
        """log P(X > x)."""
        self._validate_sample(value)
        z = (value - self.loc) / self.scale
        zero, c = self._zero()
        return where(zero, -z, -(c * z).log1p() / c)

    def log_cdf(self, value: Tensor) -> Tensor:
        """log P(X ≤ x)."""
        return (-self.log_survival_function(value).exp()).log1p()

    def cdf(self, value: Tensor) -> Tensor:
        """P(X ≤ x)."""
        return self.log_cdf(value).exp()

    def icdf(self, value: Tensor) -> Tensor:
        """loc + scale·((1 - u)^(-concentration) - 1) / concentration."""
        zero, c = self._zero()
        log_u = (-value).log1p()
        return self.loc + self.scale * where(zero, -log_u, (-c * log_u).expm1() / c)

    @property
    def mean(self) -> Tensor:
        """loc + scale / (1 - concentration); NaN for concentrations from 1 up."""
        valid = self.concentration < 1
        return where(valid, self.loc + self.scale / (1 - where(valid, self.concentration, 0.5)), math.nan)

    @property
    def variance(self) -> Tensor:
        """scale² / ((1 - concentration)²·(1 - 2·concentration)); NaN for concentrations from ½ up."""
        valid = self.concentration < 0.5
        c = where(valid, self.concentration, 0.25)
        return where(valid, self.scale**2 / ((1 - c) ** 2 * (1 - 2 * c)), math.nan)

    @property
    def mode(self) -> Tensor:
        """``loc``."""
        return self.loc

    def entropy(self) -> Tensor:
        """log scale + concentration + 1."""
        return self.scale.log() + self.concentration + 1
