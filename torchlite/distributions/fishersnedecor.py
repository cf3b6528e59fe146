"""The F-distribution of Fisher and Snedecor."""

from __future__ import annotations

import math
from typing import Any

from torchlite._tensor import Tensor
from torchlite.distributions import constraints
from torchlite.distributions.distribution import Distribution
from torchlite.distributions.gamma import Gamma
from torchlite.distributions.utils import broadcast_all
from torchlite.dtypes import finfo


class FisherSnedecor(Distribution):
    """The ratio of two chi-squared numbers, each divided by its degrees of freedom ``df1`` and ``df2``."""

    arg_constraints = {"df1": constraints.positive, "df2": constraints.positive}
    support = constraints.positive
    has_rsample = True

    def __init__(self, df1: Any, df2: Any, validate_args: bool | None = None) -> None:
        self.df1, self.df2 = broadcast_all(df1, df2)
        super().__init__(self.df1.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        """df2 / (df2 - 2); NaN for df2 ≤ 2."""
        df2 = self.df2.masked_fill(self.df2 <= 2, math.nan)
        return df2 / (df2 - 2)

    @property
    def mode(self) -> Tensor:
        """(df1 - 2) / df1·df2 / (df2 + 2); NaN for df1 ≤ 2."""
        mode = (self.df1 - 2) / self.df1 * self.df2 / (self.df2 + 2)
        return mode.masked_fill(self.df1 <= 2, math.nan)

    @property
    def variance(self) -> Tensor:
        """2·df2²·(df1 + df2 - 2) / (df1·(df2 - 2)²·(df2 - 4)); NaN for df2 ≤ 4."""
        df2 = self.df2.masked_fill(self.df2 <= 4, math.nan)
        return 2 * df2**2 * (self.df1 + df2 - 2) / (self.df1 * (df2 - 2) ** 2 * (df2 - 4))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """The ratio of two gamma numbers."""
        x1, x2 = (Gamma(df * 0.5, df, validate_args=False).rsample(sample_shape) for df in (self.df1, self.df2))
        return (x1 / x2).clamp(min=finfo(x1.dtype).tiny)

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the density."""
        self._validate_sample(value)
        a, b, ratio = self.df1 * 0.5, self.df2 * 0.5, self.df1 / self.df2
        normaliser = (a + b).lgamma() - a.lgamma() - b.lgamma() + a * ratio.log()
        return normaliser + (a - 1) * value.log() - (a + b) * (ratio * value).log1p()
