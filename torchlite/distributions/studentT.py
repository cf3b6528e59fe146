"""Student's t-distribution."""

from __future__ import annotations

import math
from typing import Any

from torchlite._tensor import Tensor
from torchlite.distributions import constraints
from torchlite.distributions.chi2 import Chi2
from torchlite.distributions.distribution import Distribution
from torchlite.distributions.utils import broadcast_all
from torchlite.ops.arithmetic import where
from torchlite.ops.random import randn


class StudentT(Distribution):
    """Density ∝ (1 + y²/df)^(-(df + 1)/2) with y = (x - loc) / scale."""

    arg_constraints = {"df": constraints.positive, "loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, df: Any, loc: Any = 0.0, scale: Any = 1.0, validate_args: bool | None = None) -> None:
        self.df, self.loc, self.scale = broadcast_all(df, loc, scale)
        super().__init__(self.df.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        """``loc``; NaN for df ≤ 1."""
        return self.loc.masked_fill(self.df <= 1, math.nan)

    @property
    def mode(self) -> Tensor:
        """``loc``."""
        return self.loc

    @property
    def variance(self) -> Tensor:
        """scale²·df / (df - 2); infinite for df ≤ 2, NaN for df ≤ 1."""
        finite = self.df > 2
        df = where(finite, self.df, 3.0)
        return where(finite, self.scale**2 * df / (df - 2), math.inf).masked_fill(self.df <= 1, math.nan)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """A normal number over the root of a chi-squared number divided by df."""
        x = randn(self._extended_shape(sample_shape), dtype=self.df.dtype, device=self.df.device)
        z = Chi2(self.df, validate_args=False).rsample(sample_shape)
        return self.loc + self.scale * x * (z / self.df).rsqrt()

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the density."""
        self._validate_sample(value)
        y = (value - self.loc) / self.scale
        normaliser = self.scale.log() + self._log_root_beta()
        return -0.5 * (self.df + 1) * (y**2 / self.df).log1p() - normaliser

    def entropy(self) -> Tensor:
        """½(df + 1)·(ψ(½(df + 1)) - ψ(½df)) + log(scale·√df·B(½df, ½))."""
        half = 0.5 * (self.df + 1)
        return self.scale.log() + half * (half.digamma() - (0.5 * self.df).digamma()) + self._log_root_beta()

    def _log_root_beta(self) -> Tensor:
        """log(√df·B(½df, ½))."""
        gammas = (0.5 * self.df).lgamma() - (0.5 * (self.df + 1)).lgamma()
        return 0.5 * (self.df.log() + math.log(math.pi)) + gammas
