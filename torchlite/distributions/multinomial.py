"""The multinomial distribution."""

from __future__ import annotations

import math
from typing import Any

from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import no_grad
from torchlite.distributions import constraints
from torchlite.distributions.binomial import Binomial
from torchlite.distributions.over_categories import OverCategories
from torchlite.distributions.utils import broadcast_all


class Multinomial(OverCategories):
    """How often each category comes in ``total_count`` draws.

    Raises:
        NotImplementedError: for a ``total_count`` that is not an int.
    """

    def __init__(
        self,
        total_count: int = 1,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if not isinstance(total_count, int):
            raise NotImplementedError("inhomogeneous total_count is not supported")
        self.total_count = total_count
        super().__init__(probs, logits, validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self) -> constraints.Constraint:
        """Vectors of counts that sum to at most ``total_count``."""
        return constraints.multinomial(self.total_count)

    @property
    def mean(self) -> Tensor:
        """n·p."""
        return self.probs * self.total_count

    @property
    def variance(self) -> Tensor:
        """n·p(1 - p)."""
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Random counts."""
        with no_grad():
            drawn = self._categorical.sample((self.total_count, *sample_shape))
            drawn = drawn.permute(*range(1, drawn.ndim), 0)
            counts = self._param.new_zeros(self._extended_shape(sample_shape))
            return counts.scatter_add(-1, drawn, self._param.new_ones(drawn.shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """log(n! / Π xᵢ!) + Σ xᵢ·log pᵢ."""
        self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        logits = logits.masked_fill((value == 0) & (logits == -math.inf), 0.0)
        arrangements = (value.sum(-1) + 1).lgamma() - (value + 1).lgamma().sum(-1)
        return arrangements + (logits * value).sum(-1)

    def entropy(self) -> Tensor:
        """n·H - log n! + Σᵢ E log xᵢ!, H the entropy of one draw and xᵢ binomial."""
        counts = Binomial(self.total_count, probs=self.probs)
        values = counts.enumerate_support(expand=False)[1:]
        logs = (counts.log_prob(values).exp() * (values + 1).lgamma()).sum((0, -1))
        return self.total_count * self._categorical.entropy() - math.lgamma(self.total_count + 1) + logs
