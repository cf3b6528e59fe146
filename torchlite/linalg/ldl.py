"""The factorization L D Lᵀ of symmetric (L D Lᴴ of Hermitian) matrices that need not be definite."""

from __future__ import annotations

from torchlite import dtypes, return_types
from torchlite._tensor import Tensor
from torchlite.dispatch import apply
from torchlite.linalg.checks import matrices, refuse_failure, same_dtype, square_matrices
from torchlite.linalg.elimination import take_rows
from torchlite.linalg.solutions import solve_ex, solve_triangular
from torchlite.ops.destination import takes_out
from torchlite.ops.factorization import ldl_op, ldl_unpack_op

_SINGULAR = "The block of D at {} is zero, so that the matrix is singular; linalg.ldl_factor_ex gives its factors"


@takes_out
def ldl_factor(A: Tensor, *, hermitian: bool = False) -> return_types.Results:
    """L and D, packed as LAPACK's sytrf (hetrf) does, of which the lower triangle of A is read; without gradient.

    Raises:
        RuntimeError: for singular matrices.
    """
    factors = _factor("linalg.ldl_factor", A, hermitian, True)
    return return_types.linalg_ldl_factor(factors[:2])


@takes_out
def ldl_factor_ex(A: Tensor, *, hermitian: bool = False, check_errors: bool = False) -> return_types.Results:
    """As `ldl_factor`, but a singular matrix is an error only where asked; otherwise ``info`` tells."""
    return _factor("linalg.ldl_factor_ex", A, hermitian, check_errors)


def _factor(name: str, A: Tensor, hermitian: bool, check_errors: bool) -> return_types.Results:
    factors = return_types.linalg_ldl_factor_ex(apply(ldl_op, (square_matrices(name, A),), {"hermitian": hermitian}))
    if check_errors:
        refuse_failure(name, factors.info, _SINGULAR, RuntimeError)
    return factors


@takes_out
def ldl_solve(LD: Tensor, pivots: Tensor, B: Tensor, *, hermitian: bool = False) -> Tensor:
    """The X with A X = B, from `ldl_factor` of A."""
    name = "linalg.ldl_solve"
    square_matrices(name, LD, "LD")
    matrices(name, B, "B")
    same_dtype(name, LD, B, "LD", "B")
    if pivots.shape != LD.shape[:-1]:
        raise RuntimeError(f"{name}: pivots of shape {list(pivots.shape)} do not fit LD of shape {list(LD.shape)}")
    if pivots.dtype not in (dtypes.int32, dtypes.int64):
        raise RuntimeError(f"{name}: Expected pivots to be integers. Got {pivots.dtype}")
    if B.shape[-2] != LD.shape[-1]:
        raise RuntimeError(f"{name}: Incompatible shapes of LD {list(LD.shape)} and B {list(B.shape)}")
    lower, blocks, order = apply(ldl_unpack_op, (LD, pivots), {"hermitian": hermitian})
    outer = solve_triangular(lower, take_rows(name, B, order), upper=False, unitriangular=True)
    inner = solve_ex(blocks, outer).result
    solution = solve_triangular(lower.mH if hermitian else lower.mT, inner, upper=True, unitriangular=True)
    return take_rows(name, solution, order.argsort(-1))
