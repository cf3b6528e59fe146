"""What families share whose values are vectors over the categories of a categorical distribution."""

from __future__ import annotations

from torchlite._tensor import Tensor
from torchlite.distributions import constraints
from torchlite.distributions.categorical import Categorical
from torchlite.distributions.distribution import Distribution
from torchlite.size import Size


class OverCategories(Distribution):
    """Distributions of vectors with a number for each category; `probs` and `logits` are the categories'."""

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}

    def __init__(
        self, probs: Tensor | None = None, logits: Tensor | None = None, validate_args: bool | None = None
    ) -> None:
        self._categorical = Categorical(probs, logits)
        super().__init__(self._categorical.batch_shape, self.param_shape[-1:], validate_args)

    @property
    def probs(self) -> Tensor:
        """The probabilities of the categories."""
        return self._categorical.probs

    @property
    def logits(self) -> Tensor:
        """Their logarithms."""
        return self._categorical.logits

    @property
    def _param(self) -> Tensor:
        return self._categorical._param

    @property
    def param_shape(self) -> Size:
        """Shape of the parameter."""
        return self._categorical.param_shape
