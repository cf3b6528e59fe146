"""The von Mises distribution of angles."""

from __future__ import annotations

import math
from typing import Any

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import no_grad
from torchlite.distributions import constraints
from torchlite.distributions.distribution import Distribution
from torchlite.distributions.utils import broadcast_all
from torchlite.ops.bessel import i0e, i1e
from torchlite.ops.variates import von_mises


class VonMises(Distribution):
    """Density exp(concentration·cos(x - loc)) / (2π·I₀(concentration)) of an angle x."""

    arg_constraints = {"loc": constraints.real, "concentration": constraints.positive}
    support = constraints.real

    def __init__(self, loc: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.loc, self.concentration = broadcast_all(loc, concentration)
        super().__init__(self.loc.shape, (), validate_args)

    @property
    def mean(self) -> Tensor:
        """The mean direction, ``loc``."""
        return self.loc

    mode = mean

    @property
    def variance(self) -> Tensor:
        """The circular variance, 1 - I₁(concentration) / I₀(concentration)."""
        return 1 - i1e(self.concentration) / i0e(self.concentration)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Random angles in [-π, π), drawn in float64."""
        with no_grad():
            shape = self._extended_shape(sample_shape)
            angle = von_mises(self.concentration.to(dtypes.float64).expand(shape)) + self.loc.to(dtypes.float64)
            return ((angle + math.pi) % (2 * math.pi) - math.pi).to(self.loc.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        """concentration·(cos(x - loc) - 1) - log 2π - log(exp(-concentration)·I₀(concentration))."""
        self._validate_sample(value)
        height = self.concentration * ((value - self.loc).cos() - 1)
        return height - math.log(2 * math.pi) - i0e(self.concentration).log()
