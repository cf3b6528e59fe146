"""The negative binomial distribution."""

from __future__ import annotations

from typing import Any

from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import no_grad
from torchlite.distributions import constraints
from torchlite.distributions.gamma import Gamma
from torchlite.distributions.probability_parameter import HasProbability
from torchlite.nn.functional import logsigmoid
from torchlite.ops.variates import poisson


class NegativeBinomial(HasProbability):
    """The number of successes, each of probability ``probs``, before ``total_count`` failures.

    ``total_count`` need not be an integer: P(k) = Γ(n + k) / (Γ(n)·k!)·(1 - p)ⁿ·pᵏ.
    """

    arg_constraints = {
        "total_count": constraints.greater_than_eq(0),
        "probs": constraints.half_open_interval(0.0, 1.0),
        "logits": constraints.real,
    }
    support = constraints.nonnegative_integer

    def __init__(
        self, total_count: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        (count,) = self._set_probability(probs, logits, total_count)
        self.total_count = count.to(self._param.dtype)
        super().__init__(self.param_shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        """n·p / (1 - p)."""
        return self.total_count * self.logits.exp()

    @property
    def mode(self) -> Tensor:
        """⌊(n - 1)·p / (1 - p)⌋, at least 0."""
        return ((self.total_count - 1) * self.logits.exp()).floor().clamp(min=0.0)

    @property
    def variance(self) -> Tensor:
        """n·p / (1 - p)²."""
        return self.mean / (-self.logits).sigmoid()

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Poisson numbers of gamma-distributed rates."""
        with no_grad():
            # A count of 0, which a gamma distribution doesn't allow, gives the rate 0.
            rates = Gamma(self.total_count, (-self.logits).exp(), validate_args=False)
            return poisson(rates.sample(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the probability."""
        self._validate_sample(value)
        n = self.total_count
        choices = (n + value).lgamma() - (value + 1).lgamma() - n.lgamma()
        # Γ(0) / Γ(0): no failure to wait for
        choices = choices.masked_fill(n + value == 0, 0.0)
        return choices + n * logsigmoid(-self.logits) + value * logsigmoid(self.logits)
