"""The log-normal distribution."""

from __future__ import annotations

from typing import Any

from torchlite._tensor import Tensor
from torchlite.distributions import constraints
from torchlite.distributions.normal import Normal
from torchlite.distributions.transformed_distribution import TransformedDistribution
from torchlite.distributions.transforms import ExpTransform


class LogNormal(TransformedDistribution):
    """The exponential of a normal number."""

    arg_constraints = Normal.arg_constraints
    support = constraints.positive
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        super().__init__(Normal(loc, scale, validate_args), ExpTransform(), validate_args)

    @property
    def loc(self) -> Tensor:
        """The mean of the logarithm."""
        return self.base_dist.loc

    @property
    def scale(self) -> Tensor:
        """The standard deviation of the logarithm."""
        return self.base_dist.scale

    @property
    def mean(self) -> Tensor:
        """exp(loc + scale²/2)."""
        return (self.loc + self.scale**2 / 2).exp()

    @property
    def mode(self) -> Tensor:
        """exp(loc - scale²)."""
        return (self.loc - self.scale**2).exp()

    @property
    def variance(self) -> Tensor:
        """(exp(scale²) - 1)·exp(2·loc + scale²)."""
        square = self.scale**2
        return square.expm1() * (self.loc * 2 + square).exp()

    def entropy(self) -> Tensor:
        """That of the normal number, plus loc."""
        return self.base_dist.entropy() + self.loc
