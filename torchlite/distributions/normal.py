"""The normal distribution."""

from __future__ import annotations

import math
from typing import Any

from torchlite._tensor import Tensor
from torchlite.distributions import constraints
from torchlite.distributions.exp_family import ExponentialFamily
from torchlite.distributions.utils import LOG_SQRT_2PI, broadcast_all
from torchlite.ops.random import randn


class Normal(ExponentialFamily):
    """Density exp(-(x - loc)² / 2·scale²) / (scale·√2π).

    >>> import torchlite as torch
    >>> torch.distributions.Normal(0.0, 1.0).log_prob(torch.tensor(0.0))
    tensor(-0.9189)
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        """``loc``."""
        return self.loc

    mode = mean

    @property
    def stddev(self) -> Tensor:
        """``scale``."""
        return self.scale

    @property
    def variance(self) -> Tensor:
        """``scale²``."""
        return self.scale**2

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """``loc + scale·ε`` with standard normal ε."""
        noise = randn(self._extended_shape(sample_shape), dtype=self.loc.dtype, device=self.loc.device)
        return self.loc + noise * self.scale

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the density."""
        self._validate_sample(value)
        return -((value - self.loc) ** 2) / (self.scale**2 * 2) - self.scale.log() - LOG_SQRT_2PI

    def cdf(self, value: Tensor) -> Tensor:
        """½(1 + erf((x - loc) / scale√2))."""
        self._validate_sample(value)
        return (((value - self.loc) / self.scale / math.sqrt(2)).erf() + 1) * 0.5

    def icdf(self, value: Tensor) -> Tensor:
        """loc + scale·√2·erf⁻¹(2u - 1)."""
        return self.loc + self.scale * (2 * value - 1).erfinv() * math.sqrt(2)

    def entropy(self) -> Tensor:
        """½ + log(scale·√2π)."""
        return self.scale.log() + (0.5 + LOG_SQRT_2PI)
