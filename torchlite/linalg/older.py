"""What ``torch`` itself, and Tensor's methods, offer under older signatures than `torchlite.linalg`."""

from __future__ import annotations

from typing import Any

from torchlite import return_types
from torchlite._tensor import Tensor, method
from torchlite.autocasting import autocasts
from torchlite.ir import FLOAT32_ON_CPU, Autocast
from torchlite.linalg import (
    determinants,
    elimination,
    orthogonal,
    positive_definite,
    products,
    pseudoinverse,
    solutions,
    spectral,
)
from torchlite.ops.destination import takes_out


@takes_out
@method()
@autocasts(FLOAT32_ON_CPU)
def inverse(input: Tensor) -> Tensor:
    """The inverse of square matrices; see `torchlite.linalg.inv`."""
    return solutions.inv(input)


@takes_out
@method()
def slogdet(input: Tensor) -> return_types.Results:
    """The sign and ln|det| of square matrices; see `torchlite.linalg.slogdet`."""
    return return_types.slogdet(determinants.slogdet(input))


@takes_out
@method()
@autocasts(FLOAT32_ON_CPU)
def cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """The lower (upper) Cholesky factor; see `torchlite.linalg.cholesky`."""
    return positive_definite.cholesky(input, upper=upper)


@takes_out
@method()
@autocasts(FLOAT32_ON_CPU)
def qr(input: Tensor, some: bool = True) -> return_types.Results:
    """Q and R; see `torchlite.linalg.qr`, whose mode is "reduced" for ``some`` and else "complete"."""
    return return_types.qr(orthogonal.qr(input, "reduced" if some else "complete"))


@takes_out
@method()
@autocasts(FLOAT32_ON_CPU)
def svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> return_types.Results:
    """U, S and V (not Vᴴ) with input = U diag(S) Vᴴ; without ``compute_uv`` U and V are zeros."""
    if compute_uv:
        u, s, vh = spectral.svd(input, not some)
        return return_types.svd((u, s, vh.mH))
    s = spectral.svdvals(input)
    batch, (m, n) = input.shape[:-2], input.shape[-2:]
    return return_types.svd((input.new_zeros((*batch, m, m)), s, input.new_zeros((*batch, n, n))))


@method()
@autocasts(FLOAT32_ON_CPU)
def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """The pseudo-inverse; see `torchlite.linalg.pinv`."""
    return pseudoinverse.pinv(input, rcond)


@takes_out
@method()
@autocasts(FLOAT32_ON_CPU)
def lu(A: Tensor, pivot: bool = True, get_infos: bool = False) -> Any:
    """(LU, pivots) or (LU, pivots, infos); see `torchlite.linalg.lu_factor_ex`."""
    factors = elimination.lu_factor_ex(A, pivot=pivot)
    return tuple(factors) if get_infos else tuple(factors[:2])


@takes_out
@method()
@autocasts(FLOAT32_ON_CPU)
def lu_solve(b: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
    """The X with A X = b; see `torchlite.linalg.lu_solve`."""
    return elimination.lu_solve(LU_data, LU_pivots, b)


@takes_out
@method()
@autocasts(FLOAT32_ON_CPU)
def triangular_solve(
    b: Tensor, A: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> return_types.Results:
    """The X with A X = b (Aᵀ X = b for ``transpose``), and a copy of A; see `torchlite.linalg.solve_triangular`."""
    if b.ndim < 2 or A.ndim < 2:
        raise RuntimeError(
            f"triangular_solve: Expected b and A to have at least 2 dimensions, got {list(b.shape)} and {list(A.shape)}"
        )
    matrix = A.mT if transpose else A
    solution = solutions.solve_triangular(matrix, b, upper=upper != transpose, unitriangular=unitriangular)
    batch = solution.shape[:-2]
    return return_types.triangular_solve((solution, A.expand((*batch, *A.shape[-2:])).clone()))


@takes_out
@method()
@autocasts(Autocast(cuda="widest"))
def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The cross product along ``dim``, by default the first of length 3; see `torchlite.linalg.cross`."""
    if dim is None:
        if 3 not in input.shape:
            raise RuntimeError(f"cross: no dimension of size 3 in input of shape {list(input.shape)}")
        dim = list(input.shape).index(3)
    return products.cross(input, other, dim=dim)
