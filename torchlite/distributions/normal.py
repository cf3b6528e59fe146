"""Normal and half-normal distributions."""

from __future__ import annotations

import math
from typing import Any

from torchlite._tensor import Tensor
from torchlite.distributions import constraints
from torchlite.distributions.distribution import LOG_SQRT_2PI, Distribution, broadcast_all
from torchlite.ops.random import randn


class Normal(Distribution):
    """Density exp(-(x - loc)² / 2·scale²) / (scale·√2π).

    >>> import torchlite as torch
    >>> torch.distributions.Normal(0.0, 1.0).log_prob(torch.tensor(0.0))
    tensor(-0.9189)
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}  # noqa: RUF012
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

    def entropy(self) -> Tensor:
        """½ + log(scale·√2π)."""
        return self.scale.log() + (0.5 + LOG_SQRT_2PI)


class HalfNormal(Distribution):
    """The absolute value of a normal number with mean 0."""

    arg_constraints = {"scale": constraints.positive}  # noqa: RUF012
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, scale: Any, validate_args: bool | None = None) -> None:
        (self.scale,) = broadcast_all(scale)
        super().__init__(self.scale.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        """scale·√(2/π)."""
        return self.scale * math.sqrt(2 / math.pi)

    @property
    def mode(self) -> Tensor:
        """0."""
        zero: Tensor = self.scale.new_zeros(self.scale.shape)
        return zero

    @property
    def variance(self) -> Tensor:
        """scale²·(1 - 2/π)."""
        return self.scale**2 * (1 - 2 / math.pi)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """``|scale·ε|`` with standard normal ε."""
        noise = randn(self._extended_shape(sample_shape), dtype=self.scale.dtype, device=self.scale.device)
        return noise.abs() * self.scale

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of twice the normal density."""
        self._validate_sample(value)
        return -(value**2) / (self.scale**2 * 2) - self.scale.log() + (math.log(2) - LOG_SQRT_2PI)

    def cdf(self, value: Tensor) -> Tensor:
        """erf(x / scale√2)."""
        self._validate_sample(value)
        result: Tensor = (value / self.scale / math.sqrt(2)).erf()
        return result

    def entropy(self) -> Tensor:
        """That of the normal distribution, less log 2."""
        return self.scale.log() + (0.5 + LOG_SQRT_2PI - math.log(2))
