"""The multivariate normal distribution."""

from __future__ import annotations

from typing import Any

from torchlite._tensor import Tensor
from torchlite.composites.assembly import broadcast_shapes
from torchlite.distributions import constraints
from torchlite.distributions.scale_matrix import (
    HasScaleMatrix,
    exactly_one_matrix,
    log_diagonal,
    squared_length,
    times_vector,
)
from torchlite.distributions.utils import LOG_SQRT_2PI
from torchlite.ops.random import randn


class MultivariateNormal(HasScaleMatrix):
    """Density exp(-½(x - loc)ᵀ·Σ⁻¹·(x - loc)) / √det 2πΣ.

    Args:
        loc: the mean, of shape (..., n).
        covariance_matrix, precision_matrix, scale_tril: exactly one of Σ, Σ⁻¹ and the Cholesky factor of Σ, (..., n, n).

    Raises:
        ValueError: for parameters of too few dimensions, or when not exactly one matrix is given.
    """

    arg_constraints = {"loc": constraints.real_vector, **HasScaleMatrix.matrix_constraints}
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        loc: Tensor,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if loc.ndim < 1:
            raise ValueError("loc must be at least one-dimensional.")
        given = exactly_one_matrix(
            covariance_matrix=covariance_matrix, precision_matrix=precision_matrix, scale_tril=scale_tril
        )
        if given is None:
            raise ValueError("Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified.")
        name, matrix = given
        if matrix.ndim < 2:
            raise ValueError(f"{name} matrix must be at least two-dimensional, with optional leading batch dimensions")
        batch_shape = broadcast_shapes(matrix.shape[:-2], loc.shape[:-1])
        self._set_matrix(name, matrix, batch_shape)
        self.loc = loc.expand((*batch_shape, loc.shape[-1]))
        super().__init__(batch_shape, loc.shape[-1:], validate_args)
        self._set_factor()

    @property
    def mean(self) -> Tensor:
        """``loc``."""
        return self.loc

    mode = mean

    @property
    def variance(self) -> Tensor:
        """The diagonal of Σ."""
        return self._factor.square().sum(-1).expand((*self._batch_shape, *self._event_shape))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """``loc + L·ε`` with standard normal ε."""
        noise = randn(self._extended_shape(sample_shape), dtype=self.loc.dtype, device=self.loc.device)
        return self.loc + times_vector(self._factor, noise)

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the density."""
        self._validate_sample(value)
        distance = squared_length(self._factor, value - self.loc)
        return -(self._event_shape[0] * LOG_SQRT_2PI) - 0.5 * distance - log_diagonal(self._factor)

    def entropy(self) -> Tensor:
        """½n(1 + log 2π) + ½·log det Σ."""
        entropy = self._event_shape[0] * (0.5 + LOG_SQRT_2PI) + log_diagonal(self._factor)
        return entropy.expand(self._batch_shape)
