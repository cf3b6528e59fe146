"""Mixtures of distributions of one family."""

from __future__ import annotations

from typing import Any

from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import no_grad
from torchlite.distributions import constraints
from torchlite.distributions.categorical import Categorical
from torchlite.distributions.distribution import Distribution
from torchlite.ops.softmax import log_softmax, logsumexp


class MixtureSameFamily(Distribution):
    """A value of a component that is drawn first.

    Args:
        mixture_distribution: a `Categorical` that draws the component.
        component_distribution: whose last batch dimension are the components.

    Raises:
        ValueError: for other types, and for batch shapes or numbers of components that do not fit.
    """

    arg_constraints: Any = {}

    def __init__(
        self,
        mixture_distribution: Categorical,
        component_distribution: Distribution,
        validate_args: bool | None = None,
    ) -> None:
        if not isinstance(mixture_distribution, Categorical):
            raise ValueError(
                "The Mixture distribution needs to be an instance of Categorical, "
                f"got {type(mixture_distribution).__name__}"
            )
        if not isinstance(component_distribution, Distribution):
            raise ValueError(
                "The Component distribution needs to be an instance of Distribution, "
                f"got {type(component_distribution).__name__}"
            )
        *batch_shape, count = component_distribution.batch_shape
        mixture_shape = mixture_distribution.batch_shape
        if any(
            1 not in (i, j) and i != j for i, j in zip(reversed(mixture_shape), reversed(batch_shape), strict=False)
        ):
            raise ValueError(
                f"`mixture_distribution.batch_shape` ({mixture_shape}) is not compatible with "
                f"`component_distribution.batch_shape`({component_distribution.batch_shape})"
            )
        if mixture_distribution._num_events != count:
            raise ValueError(
                f"`mixture_distribution component` ({mixture_distribution._num_events}) does not equal "
                f"`component_distribution.batch_shape[-1]` ({count})"
            )
        self._mixture_distribution = mixture_distribution
        self._component_distribution = component_distribution
        super().__init__(batch_shape, component_distribution.event_shape, validate_args)

    @property
    def mixture_distribution(self) -> Categorical:
        """That which draws the component."""
        return self._mixture_distribution

    @property
    def component_distribution(self) -> Distribution:
        """Those that the value comes from."""
        return self._component_distribution

    @constraints.dependent_property
    def support(self) -> constraints.Constraint:
        """Values in the supports of all components."""
        return constraints.MixtureSameFamilyConstraint(self._component_distribution.support)

    def _average(self, x: Tensor) -> Tensor:
        """The mean over the components, of shape (..., components, *event)."""
        weights = self._mixture_distribution.probs
        weights = weights.reshape((*weights.shape, *[1] * len(self._event_shape)))
        return (weights * x).sum(-1 - len(self._event_shape))

    def _per_component(self, x: Tensor) -> Tensor:
        return x.unsqueeze(-1 - len(self._event_shape))

    @property
    def mean(self) -> Tensor:
        """The mean of the components' means."""
        return self._average(self._component_distribution.mean)

    @property
    def variance(self) -> Tensor:
        """The mean of the components' variances and the variance of their means."""
        deviation = self._component_distribution.mean - self._per_component(self.mean)
        return self._average(self._component_distribution.variance) + self._average(deviation.square())

    def cdf(self, x: Tensor) -> Tensor:
        """The mean of the components'."""
        found = self._component_distribution.cdf(self._per_component(x))
        return (found * self._mixture_distribution.probs).sum(-1)

    def log_prob(self, x: Tensor) -> Tensor:
        """The logarithm of the mean of the components' densities."""
        self._validate_sample(x)
        own = self._component_distribution.log_prob(self._per_component(x))
        return logsumexp(own + log_softmax(self._mixture_distribution.logits, -1), -1)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Random values of components drawn at random."""
        with no_grad():
            events = len(self._event_shape)
            values = self._component_distribution.sample(sample_shape)  # (*sample, *batch, components, *event)
            chosen = self._mixture_distribution.expand(self._batch_shape).sample(sample_shape)
            index = chosen.reshape((*chosen.shape, *[1] * (events + 1))).expand((*chosen.shape, 1, *self._event_shape))
            return values.gather(-1 - events, index).squeeze(-1 - events)

    def __repr__(self) -> str:
        return f"MixtureSameFamily(\n  {self._mixture_distribution},\n  {self._component_distribution})"
