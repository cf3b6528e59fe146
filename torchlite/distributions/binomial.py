"""The binomial distribution."""

from __future__ import annotations

from typing import Any

from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import no_grad
from torchlite.distributions import constraints
from torchlite.distributions.probability_parameter import HasProbability
from torchlite.nn.functional import logsigmoid
from torchlite.ops.creation import arange
from torchlite.ops.variates import binomial
from torchlite.tracing import valid


class Binomial(HasProbability):
    """How many of ``total_count`` tries succeed, each with probability ``probs``."""

    arg_constraints = {"total_count": constraints.nonnegative_integer, **HasProbability.arg_constraints}
    has_enumerate_support = True

    def __init__(
        self, total_count: Any = 1, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        (count,) = self._set_probability(probs, logits, total_count)
        self.total_count = count.to(self._param.dtype)
        super().__init__(self.param_shape, (), validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> constraints.Constraint:
        """0 to ``total_count``."""
        return constraints.integer_interval(0, self.total_count)

    @property
    def mean(self) -> Tensor:
        """n·p."""
        return self.total_count * self.probs

    @property
    def mode(self) -> Tensor:
        """⌊(n + 1)·p⌋, at most n."""
        return ((self.total_count + 1) * self.probs).floor().clamp(max=self.total_count)

    @property
    def variance(self) -> Tensor:
        """n·p(1 - p)."""
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Random values without gradients."""
        shape = self._extended_shape(sample_shape)
        with no_grad():
            return binomial(self.total_count.expand(shape), self.probs.expand(shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """log(n over k) + k·logits + n·log(1 - p)."""
        self._validate_sample(value)
        n = self.total_count
        choices = (n + 1).lgamma() - (value + 1).lgamma() - (n - value + 1).lgamma()
        return choices + value * self.logits + n * logsigmoid(-self.logits)

    def entropy(self) -> Tensor:
        """The sum over all values.

        Raises:
            NotImplementedError: where the counts of a batch differ.
        """
        log_prob = self.log_prob(self.enumerate_support(False))
        return -(log_prob.exp() * log_prob).sum(0)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """0 to ``total_count``.

        Raises:
            NotImplementedError: where the counts of a batch differ.
        """
        count = int(self.total_count.max())
        if not valid((self.total_count == count).all()):
            raise NotImplementedError("Inhomogeneous total count not supported by `enumerate_support`.")
        values = arange(1 + count, dtype=self._param.dtype, device=self._param.device)
        values = values.view(-1, *([1] * len(self._batch_shape)))
        return values.expand(1 + count, *self._batch_shape) if expand else values
