"""Distributions over finitely many categories: as indices, or as one-hot vectors."""

from __future__ import annotations

import math
from typing import Any

from torchlite import dtypes
from torchlite._tensor import Size, Tensor
from torchlite.autograd.grad_mode import no_grad
from torchlite.composites.sampling import multinomial
from torchlite.distributions import constraints
from torchlite.distributions.distribution import Distribution, float_limits
from torchlite.nn.functional import one_hot
from torchlite.ops.creation import arange
from torchlite.ops.softmax import logsumexp, softmax


class Categorical(Distribution):
    """Index i with probability ``probs[..., i]``, given up to a factor; or exp(logits) up to a factor.

    >>> import torchlite as torch
    >>> torch.distributions.Categorical(probs=torch.tensor([1.0, 3.0])).probs
    tensor([0.2500, 0.7500])
    """

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}  # noqa: RUF012
    has_enumerate_support = True

    def __init__(
        self, probs: Tensor | None = None, logits: Tensor | None = None, validate_args: bool | None = None
    ) -> None:
        if (probs is None) == (logits is None):
            raise ValueError("Either `probs` or `logits` must be specified, but not both.")
        name, given = ("probs", probs) if logits is None else ("logits", logits)
        if given is None or given.ndim < 1:
            raise ValueError(f"`{name}` parameter must be at least one-dimensional.")
        self.__dict__[name] = given / given.sum(-1, True) if name == "probs" else given - logsumexp(given, -1, True)
        super().__init__(given.shape[:-1], (), validate_args)

    def __getattr__(self, name: str) -> Any:
        # Called only for what was not given: the other of the two parameters.
        if name == "probs" and "logits" in self.__dict__:
            return softmax(self.__dict__["logits"], -1)
        if name == "logits" and "probs" in self.__dict__:
            probs = self.__dict__["probs"]
            smallest = float(float_limits(probs).eps)
            return probs.clamp(min=smallest, max=1 - smallest).log()
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def param_shape(self) -> Size:
        """Shape of the parameter."""
        return Size((*self._batch_shape, self._num_events))

    @property
    def _num_events(self) -> int:
        given = self.__dict__["probs"] if "probs" in self.__dict__ else self.__dict__["logits"]
        return int(given.shape[-1])

    @property
    def support(self) -> constraints.Constraint:
        """The indices."""
        return constraints.integer_interval(0, self._num_events - 1)

    @property
    def mean(self) -> Tensor:
        """NaN: indices are names and not numbers."""
        result: Tensor = self.probs.new_full(self._extended_shape(), math.nan)
        return result

    variance = mean

    @property
    def mode(self) -> Tensor:
        """The most likely index."""
        result: Tensor = self.probs.argmax(-1)
        return result

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Random indices."""
        n = math.prod(sample_shape)
        shape = self._extended_shape(sample_shape)
        with no_grad():
            rows = self.probs.reshape(-1, self._num_events)
            result: Tensor = (
                multinomial(rows, n, True).transpose(0, 1).reshape(shape) if n else arange(0).reshape(shape)
            )
        return result

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the probability of an index."""
        self._validate_sample(value)
        logits = self.logits
        index = value.to(dtypes.int64).unsqueeze(-1)
        shape = (index[..., 0] + logits[..., 0].detach().to(dtypes.int64) * 0).shape
        picked: Tensor = logits.expand((*shape, self._num_events)).gather(-1, index.expand((*shape, 1)))
        return picked.squeeze(-1)

    def entropy(self) -> Tensor:
        """-Σ p·log p."""
        logits = self.logits
        logits = logits.clamp(min=float(float_limits(logits).min))
        return -(logits * self.probs).sum(-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All indices."""
        values = arange(self._num_events, device=self.probs.device).view(-1, *([1] * len(self._batch_shape)))
        return values.expand(self._num_events, *self._batch_shape) if expand else values


class OneHotCategorical(Distribution):
    """A vector of zeros with a 1 at the index that `Categorical` draws."""

    arg_constraints = Categorical.arg_constraints
    support = constraints.one_hot
    has_enumerate_support = True

    def __init__(
        self, probs: Tensor | None = None, logits: Tensor | None = None, validate_args: bool | None = None
    ) -> None:
        self._categorical = Categorical(probs, logits, validate_args)
        super().__init__(self._categorical.batch_shape, self._categorical.param_shape[-1:], validate_args)

    @property
    def probs(self) -> Tensor:
        """The probabilities."""
        result: Tensor = self._categorical.probs
        return result

    @property
    def logits(self) -> Tensor:
        """Their logarithms."""
        result: Tensor = self._categorical.logits
        return result

    def expand(self, batch_shape: Any) -> OneHotCategorical:
        """The same distribution with its parameters expanded to ``batch_shape``."""
        result = super().expand(batch_shape)
        result._categorical = self._categorical.expand(batch_shape)
        return result

    @property
    def mean(self) -> Tensor:
        """``probs``."""
        return self.probs

    @property
    def mode(self) -> Tensor:
        """The most likely vector."""
        return self._as_vectors(self._categorical.mode)

    @property
    def variance(self) -> Tensor:
        """p(1 - p)."""
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Random one-hot vectors."""
        return self._as_vectors(self._categorical.sample(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the probability of a one-hot vector."""
        self._validate_sample(value)
        return self._categorical.log_prob(value.argmax(-1))

    def entropy(self) -> Tensor:
        """That of the indices."""
        return self._categorical.entropy()

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All one-hot vectors."""
        return self._as_vectors(self._categorical.enumerate_support(expand))

    def _as_vectors(self, indices: Tensor) -> Tensor:
        return one_hot(indices, self._event_shape[0]).to(self.probs.dtype)
