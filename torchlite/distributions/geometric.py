"""The geometric distribution."""

from __future__ import annotations

from typing import Any

from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import no_grad
from torchlite.distributions import constraints
from torchlite.distributions.probability_parameter import HasProbability
from torchlite.distributions.utils import broadcast_all
from torchlite.dtypes import finfo
from torchlite.nn.functional import binary_cross_entropy_with_logits
from torchlite.ops.random import rand
from torchlite.tracing import valid


class Geometric(HasProbability):
    """The number of failures before the first success: P(k) = (1 - p)ᵏ·p.

    Raises:
        ValueError: for a probability of 0.
    """

    support = constraints.nonnegative_integer

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        self._set_probability(probs, logits)
        super().__init__(self.param_shape, (), validate_args)
        if self._validate_args and probs is not None and not valid((self.probs > 0).all()):
            raise ValueError(
                f"Expected parameter probs of distribution {self!r} to be positive, but found invalid values:\n{self.probs}"
            )

    @property
    def mean(self) -> Tensor:
        """1/p - 1."""
        return 1 / self.probs - 1

    @property
    def mode(self) -> Tensor:
        """0."""
        return self.probs.new_zeros(self.probs.shape)

    @property
    def variance(self) -> Tensor:
        """(1/p - 1) / p."""
        return (1 / self.probs - 1) / self.probs

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """⌊log u / log(1 - p)⌋ with u uniform in (0, 1)."""
        with no_grad():
            u = rand(self._extended_shape(sample_shape), dtype=self.probs.dtype, device=self.probs.device)
            u = u.clamp(min=finfo(u.dtype).tiny)
            return (u.log() / (-self.probs).log1p()).floor()

    def log_prob(self, value: Tensor) -> Tensor:
        """k·log(1 - p) + log p."""
        self._validate_sample(value)
        value, probs = broadcast_all(value, self.probs)
        failure = (-probs.masked_fill((probs == 1) & (value == 0), 0.0)).log1p()
        return value * failure + self.probs.log()

    def entropy(self) -> Tensor:
        """That of one Bernoulli try, divided by p."""
        return binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none") / self.probs
