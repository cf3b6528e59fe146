"""Distributions of transformed random values."""

from __future__ import annotations

from typing import Any, Self

from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import no_grad
from torchlite.distributions import constraints
from torchlite.distributions.distribution import Distribution, sum_rightmost
from torchlite.distributions.normal import Normal
from torchlite.distributions.transforms import ExpTransform, Transform


class TransformedDistribution(Distribution):
    """The distribution of ``transforms[-1](…transforms[0](x))`` with x from a base distribution.

    Args:
        base_distribution: the distribution of x.
        transforms: one elementwise transform or a list.
    """

    def __init__(
        self,
        base_distribution: Distribution,
        transforms: Transform | list[Transform],
        validate_args: bool | None = None,
    ) -> None:
        self.base_dist = base_distribution
        self.transforms = [transforms] if isinstance(transforms, Transform) else list(transforms)
        for transform in self.transforms:
            if not isinstance(transform, Transform):
                raise ValueError(
                    f"transforms must be a Transform or a list of Transforms, got {type(transform).__name__}"
                )
        super().__init__(base_distribution.batch_shape, base_distribution.event_shape, validate_args)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """Whether the base distribution has."""
        return self.base_dist.has_rsample

    @property
    def support(self) -> constraints.Constraint:
        """Where the last transform leads."""
        if not self.transforms:
            return self.base_dist.support
        codomain = self.transforms[-1].codomain
        n = len(self.event_shape)
        return constraints.independent(codomain, n) if n else codomain

    def expand(self, batch_shape: Any) -> Self:
        """The same distribution with its parameters expanded to ``batch_shape``."""
        result = super().expand(batch_shape)
        result.base_dist = self.base_dist.expand(batch_shape)
        return result

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Random values without gradients."""
        with no_grad():
            return self._forward(self.base_dist.sample(sample_shape))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Random values with gradients, where the base distribution has them."""
        return self._forward(self.base_dist.rsample(sample_shape))

    def _forward(self, x: Tensor) -> Tensor:
        for transform in self.transforms:
            x = transform(x)
        return x

    def log_prob(self, value: Tensor) -> Tensor:
        """The base's log-density of the inverse, less the logarithm of the volume it was stretched by."""
        self._validate_sample(value)
        stretched: Any = 0.0
        y = value
        for transform in reversed(self.transforms):
            x = transform.inv(y)
            stretched = sum_rightmost(transform.log_abs_det_jacobian(x, y), len(self.event_shape)) + stretched
            y = x
        return self.base_dist.log_prob(y) - stretched

    def cdf(self, value: Tensor) -> Tensor:
        """The base's cdf of the inverse, turned round where the transforms fall."""
        self._validate_sample(value)
        sign: Any = 1
        for transform in reversed(self.transforms):
            value = transform.inv(value)
            sign = transform.sign * sign
        return (self.base_dist.cdf(value) - 0.5) * sign + 0.5

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_dist}, {self.transforms})"


class LogNormal(TransformedDistribution):
    """The exponential of a normal number."""

    arg_constraints = Normal.arg_constraints

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        super().__init__(Normal(loc, scale, validate_args), ExpTransform(), validate_args)

    @property
    def loc(self) -> Tensor:
        """The mean of the logarithm."""
        return self.base_dist.mean

    @property
    def scale(self) -> Tensor:
        """The standard deviation of the logarithm."""
        scale: Tensor = self.base_dist.__dict__["scale"]
        return scale

    @property
    def mean(self) -> Tensor:
        """exp(loc + scale²/2)."""
        result: Tensor = (self.loc + self.scale**2 / 2).exp()
        return result

    @property
    def mode(self) -> Tensor:
        """exp(loc - scale²)."""
        result: Tensor = (self.loc - self.scale**2).exp()
        return result

    @property
    def variance(self) -> Tensor:
        """(exp(scale²) - 1)·exp(2·loc + scale²)."""
        squared = self.scale**2
        result: Tensor = squared.expm1() * (self.loc * 2 + squared).exp()
        return result

    def entropy(self) -> Tensor:
        """That of the normal number, plus loc."""
        return self.base_dist.entropy() + self.loc
