"""Cholesky's factorization of positive-definite matrices, and what is solved with it."""

from __future__ import annotations

from torchlite import return_types
from torchlite._tensor import Tensor, method
from torchlite.autocasting import autocasts
from torchlite.dispatch import apply
from torchlite.ir import FLOAT32_ON_CPU, Autocast
from torchlite.linalg.checks import matrices, refuse_failure, same_dtype, square_matrices
from torchlite.linalg.solutions import solve_triangular
from torchlite.ops.creation import eye
from torchlite.ops.destination import takes_out
from torchlite.ops.factorization import cholesky_op

_INDEFINITE = (
    "The factorization could not be completed because the input is not positive-definite (the leading minor of order {} "
    "is not positive-definite)."
)


@takes_out
@autocasts(FLOAT32_ON_CPU)
def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """The lower triangular L with L Lᴴ = A (the upper Lᴴ where asked) of positive-definite matrices.

    Raises:
        LinAlgError: for matrices that are not positive-definite.
    """
    return _factor("linalg.cholesky", A, upper, True).L


@takes_out
@autocasts(FLOAT32_ON_CPU)
def cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False) -> return_types.Results:
    """As `cholesky`, but an indefinite matrix is an error only where asked; otherwise ``info`` tells."""
    return _factor("linalg.cholesky_ex", A, upper, check_errors)


def _factor(name: str, A: Tensor, upper: bool, check_errors: bool) -> return_types.Results:
    square_matrices(name, A)
    lower, info = apply(cholesky_op, (A.mH if upper else A,))
    if check_errors:
        refuse_failure(name, info, _INDEFINITE)
    return return_types.linalg_cholesky_ex((lower.mH if upper else lower, info))


@takes_out
@method()
@autocasts(Autocast("float32", "as given"))
def cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    """The inverse of L Lᴴ (of Lᴴ L for an ``upper`` triangle).

    Raises:
        LinAlgError: where the diagonal has a 0.
    """
    square_matrices("cholesky_inverse", L)
    zeros = L.detach().diagonal(0, -2, -1) == 0
    info = (zeros.cumsum(-1) == 0).sum(-1) + 1  # the number of the first zero
    refuse_failure(
        "cholesky_inverse",
        info * zeros.any(-1),
        "The diagonal element {} is zero, the inversion could not be completed because the input matrix is singular.",
    )
    unit = eye(L.shape[-1], dtype=L.dtype, device=L.device).expand(L.shape)
    inverse = solve_triangular(L, unit, upper=upper)
    return inverse @ inverse.mH if upper else inverse.mH @ inverse


@takes_out
@method()
@autocasts(FLOAT32_ON_CPU)
def cholesky_solve(B: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """The X with L Lᴴ X = B (Lᴴ L X = B for an ``upper`` triangle)."""
    matrices("cholesky_solve", B, "B")
    square_matrices("cholesky_solve", L, "L")
    same_dtype("cholesky_solve", B, L, "B", "L")
    first, second = (L.mH, L) if upper else (L, L.mH)
    return solve_triangular(second, solve_triangular(first, B, upper=False), upper=True)
