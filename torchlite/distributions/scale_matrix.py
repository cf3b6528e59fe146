"""What families share whose parameter is a positive definite matrix, given as covariance, precision or Cholesky factor."""

from __future__ import annotations

from torchlite import linalg
from torchlite._tensor import Tensor
from torchlite.distributions import constraints
from torchlite.distributions.distribution import Distribution
from torchlite.distributions.utils import lazy_property
from torchlite.ops.creation import eye
from torchlite.ops.joining import flip


class HasScaleMatrix(Distribution):
    """Distributions with a matrix Σ = L·Lᵀ, of which one form was given and the others follow.

    ``_factor`` is L as it came, not yet expanded to the batch.
    """

    matrix_constraints = {
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    _factor: Tensor

    def _set_matrix(self, name: str, matrix: Tensor, batch_shape: tuple[int, ...]) -> None:
        """Keep the form that was given; `_set_factor` follows once the parameters are checked."""
        self._given = name, matrix
        self.__dict__[name] = matrix.expand((*batch_shape, *matrix.shape[-2:]))

    def _set_factor(self) -> None:
        name, matrix = self.__dict__.pop("_given")
        if name == "scale_tril":
            self._factor = matrix
        elif name == "covariance_matrix":
            self._factor = linalg.cholesky(matrix)
        else:
            self._factor = precision_to_factor(matrix)

    def _in_batch(self, matrix: Tensor) -> Tensor:
        return matrix.expand((*self._batch_shape, *matrix.shape[-2:]))

    @lazy_property
    def scale_tril(self) -> Tensor:
        """L, lower triangular."""
        return self._in_batch(self._factor)

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """Σ = L·Lᵀ."""
        return self._in_batch(self._factor @ self._factor.mT)

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """Σ⁻¹."""
        inverse = inverse_of_triangle(self._factor)
        return self._in_batch(inverse.mT @ inverse)


def exactly_one_matrix(**forms: Tensor | None) -> tuple[str, Tensor] | None:
    """Name and value of the one form that is not None; None where that is not exactly one."""
    given = [(name, matrix) for name, matrix in forms.items() if matrix is not None]
    return given[0] if len(given) == 1 else None


def inverse_of_triangle(factor: Tensor) -> Tensor:
    """L⁻¹ of lower triangular matrices."""
    n = factor.shape[-1]
    return linalg.solve_triangular(factor, eye(n, dtype=factor.dtype, device=factor.device), upper=False)


def precision_to_factor(precision: Tensor) -> Tensor:
    """L with L·Lᵀ = P⁻¹: with all rows and columns in reverse, P = U·Uᵀ for an upper triangular U, and L = U⁻ᵀ."""
    reverse = linalg.cholesky(flip(precision, (-2, -1)))
    return inverse_of_triangle(flip(reverse, (-2, -1)).mT)


def log_diagonal(factor: Tensor) -> Tensor:
    """Half the logarithm of det L·Lᵀ."""
    return factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def squared_length(factor: Tensor, x: Tensor) -> Tensor:
    """xᵀ·(L·Lᵀ)⁻¹·x of vectors in the last dimension: the squared Mahalanobis distance."""
    if factor.ndim == 2:  # one solve, with all vectors as columns
        columns = linalg.solve_triangular(factor, x.reshape(-1, x.shape[-1]).mT, upper=False)
        return columns.square().sum(0).reshape(x.shape[:-1])
    return linalg.solve_triangular(factor, x.unsqueeze(-1), upper=False).square().sum((-2, -1))


def times_vector(matrix: Tensor, x: Tensor) -> Tensor:
    """Matrices times vectors in the last dimension."""
    return (matrix @ x.unsqueeze(-1)).squeeze(-1)
