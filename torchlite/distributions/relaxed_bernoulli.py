"""The relaxed Bernoulli distribution, and that of its log-odds."""

from __future__ import annotations

from typing import Any

from torchlite._tensor import Tensor
from torchlite.distributions import constraints
from torchlite.distributions.probability_parameter import HasProbability
from torchlite.distributions.transformed_distribution import TransformedDistribution
from torchlite.distributions.transforms import SigmoidTransform
from torchlite.distributions.utils import broadcast_all, clamp_probs
from torchlite.nn.functional import logsigmoid
from torchlite.ops.random import rand


class LogitRelaxedBernoulli(HasProbability):
    """(logits + logistic noise) / temperature: log-odds of a relaxed Bernoulli number (Maddison, Mnih and Teh, 2017)."""

    support = constraints.real

    def __init__(
        self, temperature: Tensor, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        self.temperature = temperature
        self._set_probability(probs, logits)
        super().__init__(self.param_shape, (), validate_args)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Random log-odds, with gradients."""
        shape = self._extended_shape(sample_shape)
        probs = clamp_probs(self.probs.expand(shape))
        u = clamp_probs(rand(shape, dtype=probs.dtype, device=probs.device))
        return (u.log() - (-u).log1p() + probs.log() - (-probs).log1p()) / self.temperature

    def log_prob(self, value: Tensor) -> Tensor:
        """log temperature + d - 2·log(1 + exp(d)) with d = logits - temperature·x."""
        self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        difference = logits - value * self.temperature
        return self.temperature.log() + difference + 2 * logsigmoid(-difference)


class RelaxedBernoulli(TransformedDistribution):
    """Numbers in (0, 1) that tend to Bernoulli numbers as ``temperature`` tends to 0, with gradients."""

    arg_constraints = HasProbability.arg_constraints
    support = constraints.unit_interval
    has_rsample = True

    def __init__(
        self, temperature: Tensor, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        base = LogitRelaxedBernoulli(temperature, probs, logits)
        super().__init__(base, SigmoidTransform(), validate_args)

    @property
    def temperature(self) -> Tensor:
        """How far from 0 and 1 the numbers are."""
        return self.base_dist.temperature

    @property
    def logits(self) -> Tensor:
        """The log-odds of 1."""
        return self.base_dist.logits

    @property
    def probs(self) -> Tensor:
        """The probability of 1."""
        return self.base_dist.probs
