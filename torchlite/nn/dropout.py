"""Dropout: modules that lose elements or channels at random in training and do nothing in evaluation."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from torchlite._tensor import Tensor
from torchlite.nn import functional as F
from torchlite.nn.module import Module


class _Dropout(Module):
    """A module that applies ``compute`` in training.

    Args:
        p: the probability of a loss.
        inplace: write the result into the input.
    """

    compute: ClassVar[Callable[..., Tensor]]

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p = p
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Lose elements in training."""
        return type(self).compute(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        """The settings."""
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """Each element 0 with probability p and divided by 1 - p otherwise (Srivastava et al., 2014)."""

    compute = staticmethod(F.dropout)


class Dropout1d(_Dropout):
    """Each channel of (N, C, L) or (C, L) 0 with probability p and divided by 1 - p otherwise (Tompson et al., 2015)."""

    compute = staticmethod(F.dropout1d)


class Dropout2d(_Dropout):
    """Each channel of (N, C, H, W) 0 with probability p and divided by 1 - p otherwise (Tompson et al., 2015)."""

    compute = staticmethod(F.dropout2d)


class Dropout3d(_Dropout):
    """Each channel of (N, C, D, H, W) 0 with probability p and divided by 1 - p otherwise (Tompson et al., 2015)."""

    compute = staticmethod(F.dropout3d)


class AlphaDropout(_Dropout):
    """Dropout that keeps mean 0 and variance 1 behind SELU (Klambauer et al., 2017)."""

    compute = staticmethod(F.alpha_dropout)


class FeatureAlphaDropout(_Dropout):
    """`AlphaDropout` of whole channels of (N, C, *)."""

    compute = staticmethod(F.feature_alpha_dropout)
