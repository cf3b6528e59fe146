"""The categorical distribution."""

from __future__ import annotations

import math
from typing import Any

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import no_grad
from torchlite.composites.assembly import broadcast_tensors
from torchlite.composites.sampling import multinomial
from torchlite.distributions import constraints
from torchlite.distributions.distribution import Distribution
from torchlite.distributions.probability_parameter import exactly_one
from torchlite.distributions.utils import lazy_property, logits_to_probs, probs_to_logits
from torchlite.dtypes import finfo
from torchlite.ops.creation import arange
from torchlite.ops.softmax import logsumexp
from torchlite.size import Size


class Categorical(Distribution):
    """Index i with probability ``probs[..., i]``, given up to a factor; or exp(logits) up to a factor.

    >>> import torchlite as torch
    >>> torch.distributions.Categorical(probs=torch.tensor([1.0, 3.0])).probs
    tensor([0.2500, 0.7500])
    """

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    has_enumerate_support = True

    def __init__(
        self, probs: Tensor | None = None, logits: Tensor | None = None, validate_args: bool | None = None
    ) -> None:
        name, given = exactly_one(probs, logits)
        if given.ndim < 1:
            raise ValueError(f"`{name}` parameter must be at least one-dimensional.")
        normalised = given / given.sum(-1, True) if name == "probs" else given - logsumexp(given, -1, True)
        self.__dict__[name] = normalised
        super().__init__(given.shape[:-1], (), validate_args)

    @lazy_property
    def logits(self) -> Tensor:
        """Logarithms of the probabilities."""
        return probs_to_logits(self.probs)

    @lazy_property
    def probs(self) -> Tensor:
        """The probabilities."""
        return logits_to_probs(self.logits)

    @property
    def _param(self) -> Tensor:
        return self.__dict__["probs"] if "probs" in self.__dict__ else self.__dict__["logits"]

    @property
    def param_shape(self) -> Size:
        """Shape of the parameter."""
        return self._param.shape

    @property
    def _num_events(self) -> int:
        return self.param_shape[-1]

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> constraints.Constraint:
        """The indices."""
        return constraints.integer_interval(0, self._num_events - 1)

    @property
    def mean(self) -> Tensor:
        """NaN: indices are names and not numbers."""
        return self._param.new_full(self._extended_shape(), math.nan)

    variance = mean

    @property
    def mode(self) -> Tensor:
        """The most likely index."""
        return self.probs.argmax(-1)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Random indices."""
        shape = self._extended_shape(sample_shape)
        if shape.numel() == 0:
            return arange(0, device=self._param.device).reshape(shape)
        with no_grad():
            rows = self.probs.reshape(-1, self._num_events)
            return multinomial(rows, Size(sample_shape).numel(), True).T.reshape(shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the probability of an index."""
        self._validate_sample(value)
        index, logits = broadcast_tensors(value.to(dtypes.int64).unsqueeze(-1), self.logits)
        return logits.gather(-1, index[..., :1]).squeeze(-1)

    def entropy(self) -> Tensor:
        """-Σ p·log p."""
        logits = self.logits.clamp(min=finfo(self.logits.dtype).min)
        return -(logits * self.probs).sum(-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All indices."""
        values = arange(self._num_events, device=self._param.device).view(-1, *([1] * len(self._batch_shape)))
        return values.expand(self._num_events, *self._batch_shape) if expand else values
