"""Distributions of transformed random values."""

from __future__ import annotations

from typing import Any, Self

from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import no_grad
from torchlite.distributions import constraints
from torchlite.distributions.distribution import Distribution
from torchlite.distributions.independent import Independent
from torchlite.distributions.transforms import ComposeTransform, Transform
from torchlite.distributions.utils import sum_rightmost
from torchlite.size import Size


class TransformedDistribution(Distribution):
    """The distribution of ``transforms[-1](…transforms[0](x))`` with x from a base distribution.

    Args:
        base_distribution: the distribution of x; its batch is broadcast with the transforms' parameters.
        transforms: one transform or a list.

    Raises:
        ValueError: for anything but transforms, and a base of too few dimensions for them.
    """

    arg_constraints: Any = {}
    base_dist: Any

    def __init__(
        self,
        base_distribution: Distribution,
        transforms: Transform | list[Transform],
        validate_args: bool | None = None,
    ) -> None:
        self.transforms = [transforms] if isinstance(transforms, Transform) else transforms
        if not isinstance(self.transforms, list) or not all(isinstance(t, Transform) for t in self.transforms):
            raise ValueError(f"transforms must be a Transform or a list of Transforms, but was {transforms}")
        whole = ComposeTransform(self.transforms)
        domain_dim, codomain_dim = whole.domain.event_dim, whole.codomain.event_dim
        base_dim = len(base_distribution.event_shape)
        base_shape = (*base_distribution.batch_shape, *base_distribution.event_shape)
        if len(base_shape) < domain_dim:
            raise ValueError(
                f"base_distribution needs to have shape with size at least {domain_dim}, but got {list(base_shape)}."
            )
        shape = whole.forward_shape(base_shape)
        broadcast = whole.inverse_shape(shape)
        if tuple(broadcast) != base_shape:
            base_distribution = base_distribution.expand(broadcast[: len(broadcast) - base_dim])
        if domain_dim > base_dim:
            base_distribution = Independent(base_distribution, domain_dim - base_dim)
        self.base_dist = base_distribution
        cut = len(shape) - max(codomain_dim, base_dim + codomain_dim - domain_dim)
        super().__init__(shape[:cut], shape[cut:], validate_args)

    @property
    def has_rsample(self) -> Any:
        """Whether the base distribution has."""
        return self.base_dist.has_rsample

    @constraints.dependent_property(is_discrete=False)
    def support(self) -> constraints.Constraint:
        """Where the last transform leads."""
        if not self.transforms:
            return self.base_dist.support
        codomain = self.transforms[-1].codomain
        more = len(self.event_shape) - codomain.event_dim
        return constraints.independent(codomain, more) if more > 0 else codomain

    def expand(self, batch_shape: Any, _instance: Any = None) -> Self:
        """The same distribution with its parameters expanded to ``batch_shape``."""
        shape: tuple[int, ...] = (*batch_shape, *self.event_shape)
        for transform in reversed(self.transforms):
            shape = transform.inverse_shape(shape)
        new = object.__new__(type(self)) if _instance is None else _instance
        new.base_dist = self.base_dist.expand(Size(shape[: len(shape) - len(self.base_dist.event_shape)]))
        return super().expand(batch_shape, new)

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
        event_dim = len(self.event_shape)
        stretched: Any = 0.0
        y = value
        for transform in reversed(self.transforms):
            x = transform.inv(y)
            event_dim += transform.domain.event_dim - transform.codomain.event_dim
            own = transform.log_abs_det_jacobian(x, y)
            stretched = stretched + sum_rightmost(own, event_dim - transform.domain.event_dim)
            y = x
        return sum_rightmost(self.base_dist.log_prob(y), event_dim - len(self.base_dist.event_shape)) - stretched

    def cdf(self, value: Tensor) -> Tensor:
        """The base's cdf of the inverse, turned round where the transforms fall."""
        for transform in reversed(self.transforms):
            value = transform.inv(value)
        return self._turned(self.base_dist.cdf(value))

    def icdf(self, value: Tensor) -> Tensor:
        """The transforms of the base's quantile, turned round where they fall."""
        return self._forward(self.base_dist.icdf(self._turned(value)))

    def _turned(self, probability: Tensor) -> Tensor:
        sign: Any = 1
        for transform in self.transforms:
            sign = sign * transform.sign
        return probability if isinstance(sign, int) and sign == 1 else sign * (probability - 0.5) + 0.5
