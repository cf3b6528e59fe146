"""The inverse gamma distribution."""

from __future__ import annotations

import math
from typing import Any

from torchlite._tensor import Tensor
from torchlite.distributions import constraints
from torchlite.distributions.gamma import Gamma
from torchlite.distributions.transformed_distribution import TransformedDistribution
from torchlite.distributions.transforms import PowerTransform
from torchlite.ops.arithmetic import where


class InverseGamma(TransformedDistribution):
    """1/x for a gamma number x."""

    arg_constraints = {"concentration": constraints.positive, "rate": constraints.positive}
    support = constraints.positive
    has_rsample = True

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None) -> None:
        base = Gamma(concentration, rate, validate_args)
        super().__init__(base, PowerTransform(-base.rate.new_ones(())), validate_args)

    @property
    def concentration(self) -> Tensor:
        """That of the gamma number."""
        return self.base_dist.concentration

    @property
    def rate(self) -> Tensor:
        """That of the gamma number."""
        return self.base_dist.rate

    @property
    def mean(self) -> Tensor:
        """rate / (a - 1); infinite for a ≤ 1."""
        return where(self.concentration > 1, self.rate / (self.concentration - 1), math.inf)

    @property
    def mode(self) -> Tensor:
        """rate / (a + 1)."""
        return self.rate / (self.concentration + 1)

    @property
    def variance(self) -> Tensor:
        """rate² / ((a - 1)²·(a - 2)); infinite for a ≤ 2."""
        a = self.concentration
        return where(a > 2, self.rate**2 / ((a - 1) ** 2 * (a - 2)), math.inf)

    def entropy(self) -> Tensor:
        """a + log rate + log Γ(a) - (1 + a)·ψ(a)."""
        a = self.concentration
        return a + self.rate.log() + a.lgamma() - (1 + a) * a.digamma()
