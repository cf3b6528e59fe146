"""The relaxed one-hot categorical distribution, and that of its logarithms."""

from __future__ import annotations

import math
from typing import Any

from torchlite._tensor import Tensor
from torchlite.distributions import constraints
from torchlite.distributions.over_categories import OverCategories
from torchlite.distributions.transformed_distribution import TransformedDistribution
from torchlite.distributions.transforms import ExpTransform
from torchlite.distributions.utils import broadcast_all, clamp_probs
from torchlite.ops.random import rand
from torchlite.ops.softmax import log_softmax


class ExpRelaxedCategorical(OverCategories):
    """log softmax((logits + Gumbel noise) / temperature): logarithms of a relaxed one-hot vector."""

    support = constraints.real_vector  # and of those only the ones whose exponentials sum to 1
    has_rsample = True

    def __init__(
        self,
        temperature: Tensor,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self.temperature = temperature
        super().__init__(probs, logits, validate_args)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Random vectors, with gradients."""
        shape = self._extended_shape(sample_shape)
        u = clamp_probs(rand(shape, dtype=self.logits.dtype, device=self.logits.device))
        return log_softmax((self.logits - (-u.log()).log()) / self.temperature, -1)

    def log_prob(self, value: Tensor) -> Tensor:
        """log (k - 1)! + (k - 1)·log temperature + Σ log softmax(logits - temperature·x)."""
        self._validate_sample(value)
        k = self._categorical._num_events
        logits, value = broadcast_all(self.logits, value)
        score = log_softmax(logits - value * self.temperature, -1).sum(-1)
        return score + math.lgamma(k) + (k - 1) * self.temperature.log()


class RelaxedOneHotCategorical(TransformedDistribution):
    """Points of the simplex that tend to one-hot vectors as ``temperature`` tends to 0, with gradients.

    Also called the Gumbel-softmax distribution (Jang, Gu and Poole, 2017) and Concrete (Maddison, Mnih and Teh, 2017).
    """

    arg_constraints = OverCategories.arg_constraints
    support = constraints.simplex
    has_rsample = True

    def __init__(
        self,
        temperature: Tensor,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        base = ExpRelaxedCategorical(temperature, probs, logits, validate_args)
        super().__init__(base, ExpTransform(), validate_args)

    @property
    def temperature(self) -> Tensor:
        """How far from corners the points are."""
        return self.base_dist.temperature

    @property
    def logits(self) -> Tensor:
        """Logarithms of the probabilities of the categories."""
        return self.base_dist.logits

    @property
    def probs(self) -> Tensor:
        """The probabilities of the categories."""
        return self.base_dist.probs
