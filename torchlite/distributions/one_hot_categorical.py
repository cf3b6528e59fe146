"""The categorical distribution with one-hot vectors as values."""

from __future__ import annotations

from typing import Any

from torchlite._tensor import Tensor
from torchlite.distributions import constraints
from torchlite.distributions.over_categories import OverCategories
from torchlite.nn.functional import one_hot
from torchlite.ops.creation import eye


class OneHotCategorical(OverCategories):
    """A vector of zeros with a 1 at the index that `Categorical` draws."""

    support = constraints.one_hot
    has_enumerate_support = True

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
        n = self._event_shape[0]
        values = eye(n, dtype=self._param.dtype, device=self._param.device)
        values = values.view(n, *([1] * len(self._batch_shape)), n)
        return values.expand(n, *self._batch_shape, n) if expand else values

    def _as_vectors(self, indices: Tensor) -> Tensor:
        return one_hot(indices, self._event_shape[0]).to(self._param.dtype)


class OneHotCategoricalStraightThrough(OneHotCategorical):
    """`OneHotCategorical` whose samples have the gradients of the probabilities (Bengio et al., 2013)."""

    has_rsample = True

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Random one-hot vectors, plus p - p of which one p is constant."""
        return self.sample(sample_shape) + (self.probs - self.probs.detach())
