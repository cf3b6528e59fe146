"""Inverses and solutions of square systems."""

from __future__ import annotations

import math
from typing import Any

from torchlite import return_types
from torchlite._tensor import Tensor
from torchlite.autocasting import autocasts
from torchlite.dispatch import apply
from torchlite.ir import FLOAT32_ON_CPU
from torchlite.linalg.checks import is_vector, refuse_failure, same_dtype, square_matrices
from torchlite.ops.destination import takes_out
from torchlite.ops.inversion import inverse_op, solve_op, triangular_op

_SINGULAR = (
    "The diagonal element {} is zero, the inversion could not be completed because the input matrix is singular."
)


@takes_out
@autocasts(FLOAT32_ON_CPU)
def inv(A: Tensor) -> Tensor:
    """The inverse of square matrices.

    Raises:
        LinAlgError: for singular matrices; RuntimeError for those that are not square.
    """
    inverse, info = apply(inverse_op, (square_matrices("linalg.inv", A),))
    refuse_failure("linalg.inv", info, _SINGULAR)
    return inverse


@takes_out
@autocasts(FLOAT32_ON_CPU)
def inv_ex(A: Tensor, *, check_errors: bool = False) -> return_types.Results:
    """As `inv`, but a singular matrix is an error only where asked; otherwise ``info`` tells."""
    result = return_types.linalg_inv_ex(apply(inverse_op, (square_matrices("linalg.inv_ex", A),)))
    if check_errors:
        refuse_failure("linalg.inv_ex", result.info, _SINGULAR)
    return result


@takes_out
@autocasts(FLOAT32_ON_CPU)
def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """The X with A X = B (X A = B where ``left`` is false); ``B`` may be a (batch of) vector(s).

    Raises:
        LinAlgError: for singular matrices; RuntimeError for shapes or dtypes that do not fit.
    """
    return _solve("linalg.solve", A, B, left, True).result


@takes_out
def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> return_types.Results:
    """As `solve`, but a singular matrix is an error only where asked; otherwise ``info`` tells."""
    return _solve("linalg.solve_ex", A, B, left, check_errors)


def _solve(name: str, A: Tensor, B: Tensor, left: bool, check_errors: bool) -> return_types.Results:
    square_matrices(name, A)
    same_dtype(name, A, B)
    vector = is_vector(A, B)
    if vector and not left:
        raise RuntimeError(f"{name}: a vector B is not supported for left=False; use B.unsqueeze(-2)")
    right = B.unsqueeze(-1) if vector else B
    if right.shape[-2 if left else -1] != A.shape[-1]:
        raise RuntimeError(f"{name}: Incompatible shapes of A {list(A.shape)} and B {list(B.shape)}, left={left}")
    result, info = apply(solve_op, (A, right) if left else (A.mT, right.mT))
    if check_errors:
        refuse_failure(
            name, info, "The solver failed because the input matrix is singular (diagonal element {} is zero)."
        )
    result = result if left else result.mT
    return return_types.linalg_solve_ex((result.squeeze(-1) if vector else result, info))


@takes_out
def solve_triangular(A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    """The X with A X = B (X A = B where ``left`` is false), of which only one triangle of A is read.

    A zero on the diagonal gives infinities and NaN. With ``unitriangular`` the diagonal is taken to be 1.
    """
    name = "linalg.solve_triangular"
    square_matrices(name, A)
    if B.ndim < 2:
        raise RuntimeError(f"{name}: B must have at least 2 dimensions, got shape {list(B.shape)}")
    same_dtype(name, A, B)
    if B.shape[-2 if left else -1] != A.shape[-1]:
        raise RuntimeError(f"{name}: Incompatible shapes of A {list(A.shape)} and B {list(B.shape)}, left={left}")
    if left:
        return apply(triangular_op, (A, B), {"upper": upper, "unit": unitriangular})
    return apply(triangular_op, (A.mT, B.mT), {"upper": not upper, "unit": unitriangular}).mT


@takes_out
@autocasts(FLOAT32_ON_CPU)
def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse for `tensordot`: its first ``ind`` dimensions, as one, are the rows of a square matrix.

    Shape:
        - A: (*rows, *columns) with as many elements in ``rows``, the first ``ind``, as in ``columns``
        - result: (*columns, *rows)
    """
    if ind <= 0:
        raise RuntimeError(f"linalg.tensorinv: Expected a strictly positive integer for 'ind', but got {ind}")
    rows, columns = A.shape[:ind], A.shape[ind:]
    if math.prod(rows) != math.prod(columns):
        raise RuntimeError(
            f"linalg.tensorinv: Expected prod(A.shape[ind:]) == prod(A.shape[:ind]), but got {math.prod(columns)} != "
            f"{math.prod(rows)} for shape {list(A.shape)} and ind={ind}"
        )
    return inv(A.reshape(math.prod(rows), -1)).reshape((*columns, *rows))


@takes_out
@autocasts(FLOAT32_ON_CPU)
def tensorsolve(A: Tensor, B: Tensor, dims: Any = None) -> Tensor:
    """The X with ``tensordot(A, X, X.ndim) == B``; ``dims`` of ``A`` are moved to its end first.

    Shape:
        - A: (*B.shape, *X.shape) with as many elements in B as in X
    """
    moved = A if dims is None else A.movedim(tuple(dims), tuple(range(A.ndim - len(dims), A.ndim)))
    shape = moved.shape[B.ndim :]
    if math.prod(shape) != math.prod(moved.shape[: B.ndim]) or B.numel() != math.prod(shape):
        raise RuntimeError(
            f"linalg.tensorsolve: A of shape {list(A.shape)} must have as many elements in its first {B.ndim} dimensions "
            f"as in the others and in B of shape {list(B.shape)}"
        )
    return solve(moved.reshape(B.numel(), -1), B.reshape(-1)).reshape(shape)
