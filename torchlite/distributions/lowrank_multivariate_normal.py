"""The multivariate normal distribution whose covariance is of low rank plus a diagonal."""

from __future__ import annotations

from typing import Any

from torchlite import linalg
from torchlite._tensor import Tensor
from torchlite.composites.assembly import broadcast_tensors
from torchlite.distributions import constraints
from torchlite.distributions.distribution import Distribution
from torchlite.distributions.scale_matrix import log_diagonal, squared_length, times_vector
from torchlite.distributions.utils import LOG_SQRT_2PI, lazy_property
from torchlite.ops.creation import eye
from torchlite.ops.random import randn


class LowRankMultivariateNormal(Distribution):
    """Normal vectors of covariance W·Wᵀ + D.

    Determinant and inverse come from the small matrix C = I + Wᵀ·D⁻¹·W (Woodbury's identity).

    Args:
        loc: the mean, of shape (..., n).
        cov_factor: W, of shape (..., n, m).
        cov_diag: the diagonal of D, of shape (..., n).

    Raises:
        ValueError: for shapes that do not fit together.
    """

    arg_constraints = {
        "loc": constraints.real_vector,
        "cov_factor": constraints.independent(constraints.real, 2),
        "cov_diag": constraints.independent(constraints.positive, 1),
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc: Tensor, cov_factor: Tensor, cov_diag: Tensor, validate_args: bool | None = None) -> None:
        _check_shapes(loc, cov_factor, cov_diag)
        try:
            wide_loc, self.cov_factor, wide_diag = broadcast_tensors(
                loc.unsqueeze(-1), cov_factor, cov_diag.unsqueeze(-1)
            )
        except RuntimeError as error:
            raise ValueError(
                f"Incompatible batch shapes: loc {list(loc.shape)}, cov_factor {list(cov_factor.shape)}, "
                f"cov_diag {list(cov_diag.shape)}"
            ) from error
        self.loc, self.cov_diag = wide_loc[..., 0], wide_diag[..., 0]
        super().__init__(self.loc.shape[:-1], loc.shape[-1:], validate_args)
        self._factor, self._diag = cov_factor, cov_diag
        self._capacitance_tril = linalg.cholesky(_plus_identity(self._scaled_factor() @ cov_factor))

    def _scaled_factor(self) -> Tensor:
        """Wᵀ·D⁻¹."""
        return self._factor.mT / self._diag.unsqueeze(-2)

    @property
    def mean(self) -> Tensor:
        """``loc``."""
        return self.loc

    mode = mean

    @lazy_property
    def variance(self) -> Tensor:
        """The diagonal of the covariance."""
        return (self._factor.square().sum(-1) + self._diag).expand(self._extended_shape())

    @lazy_property
    def scale_tril(self) -> Tensor:
        """The Cholesky factor of the covariance, as D^½ times that of I + D^-½·W·Wᵀ·D^-½, which is well conditioned."""
        root = self._diag.sqrt().unsqueeze(-1)
        scaled = self._factor / root
        return self._in_batch(root * linalg.cholesky(_plus_identity(scaled @ scaled.mT)))

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """W·Wᵀ + D."""
        return self._in_batch(self._factor @ self._factor.mT + self._diag.diag_embed())

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """D⁻¹ - D⁻¹·W·C⁻¹·Wᵀ·D⁻¹."""
        half = linalg.solve_triangular(self._capacitance_tril, self._scaled_factor(), upper=False)
        return self._in_batch(self._diag.reciprocal().diag_embed() - half.mT @ half)

    def _in_batch(self, matrix: Tensor) -> Tensor:
        return matrix.expand((*self._batch_shape, *matrix.shape[-2:]))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """``loc + W·ε + D^½·δ`` with standard normal ε and δ."""
        shape = self._extended_shape(sample_shape)
        place: dict[str, Any] = {"dtype": self.loc.dtype, "device": self.loc.device}
        along = randn((*shape[:-1], self.cov_factor.shape[-1]), **place)
        return self.loc + times_vector(self._factor, along) + self._diag.sqrt() * randn(shape, **place)

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the density."""
        self._validate_sample(value)
        distance = self.squared_distance(value - self.loc)
        return -(self._event_shape[0] * LOG_SQRT_2PI) - 0.5 * (self.log_determinant() + distance)

    def entropy(self) -> Tensor:
        """½n(1 + log 2π) + ½·log det of the covariance."""
        entropy = self._event_shape[0] * (0.5 + LOG_SQRT_2PI) + 0.5 * self.log_determinant()
        return entropy.expand(self._batch_shape)

    def log_determinant(self) -> Tensor:
        """log det of the covariance: log det C + log det D."""
        return 2 * log_diagonal(self._capacitance_tril) + self._diag.log().sum(-1)

    def squared_distance(self, x: Tensor) -> Tensor:
        """xᵀ times the precision matrix times x."""
        inner = squared_length(self._capacitance_tril, times_vector(self._scaled_factor(), x))
        return (x.square() / self._diag).sum(-1) - inner


def _check_shapes(loc: Tensor, cov_factor: Tensor, cov_diag: Tensor) -> None:
    if loc.ndim < 1:
        raise ValueError("loc must be at least one-dimensional.")
    if cov_factor.ndim < 2:
        raise ValueError("cov_factor must be at least two-dimensional, with optional leading batch dimensions")
    n = loc.shape[-1]
    if cov_factor.shape[-2] != n:
        raise ValueError(f"cov_factor must be a batch of matrices with shape {n} x m, got {list(cov_factor.shape)}")
    if cov_diag.shape[-1:] != (n,):
        raise ValueError(f"cov_diag must be a batch of vectors with shape ({n},), got {list(cov_diag.shape)}")


def _plus_identity(matrix: Tensor) -> Tensor:
    return matrix + eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
