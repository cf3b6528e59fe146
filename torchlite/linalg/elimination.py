"""LU factorization with partial pivoting: A = P L U."""

from __future__ import annotations

from torchlite import dtypes, return_types
from torchlite._tensor import Tensor
from torchlite.dispatch import apply
from torchlite.ir import broadcast_shapes
from torchlite.linalg.checks import matrices, refuse_failure, same_dtype, square_matrices
from torchlite.linalg.solutions import solve_triangular
from torchlite.ops.creation import arange, eye
from torchlite.ops.destination import takes_out
from torchlite.ops.factorization import lu_op, permutation_op

_ZERO_PIVOT = (
    "U[{0},{0}] is zero and using it on lu_solve would result in a division by zero. If you still want to perform the "
    "factorization, consider calling linalg.lu(A, pivot) or linalg.lu_factor_ex(A, pivot)"
)


@takes_out
def lu_factor(A: Tensor, *, pivot: bool = True) -> return_types.Results:
    """L and U of matrices (m, n), packed, and pivots.

    Raises:
        RuntimeError: where U has a 0 on its diagonal.
    """
    factors = apply(lu_op, (matrices("linalg.lu_factor", A),), {"pivot": pivot})
    refuse_failure("linalg.lu_factor", factors[2], _ZERO_PIVOT, RuntimeError)
    return return_types.linalg_lu_factor(factors[:2])


@takes_out
def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False) -> return_types.Results:
    """As `lu_factor`, but a zero pivot is an error only where asked; otherwise ``info`` tells."""
    factors = return_types.linalg_lu_factor_ex(apply(lu_op, (matrices("linalg.lu_factor_ex", A),), {"pivot": pivot}))
    if check_errors:
        refuse_failure("linalg.lu_factor_ex", factors.info, _ZERO_PIVOT, RuntimeError)
    return factors


@takes_out
def lu(A: Tensor, *, pivot: bool = True) -> return_types.Results:
    """P, L and U with A = P L U; without pivoting P is empty.

    Shape:
        - A: (*, m, n); P: (*, m, m), L: (*, m, k), U: (*, k, n) with k = min(m, n)
    """
    factors = apply(lu_op, (matrices("linalg.lu", A),), {"pivot": pivot})
    return return_types.linalg_lu(lu_unpack(factors[0], factors[1], unpack_pivots=pivot))


@takes_out
def lu_unpack(
    LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True
) -> return_types.Results:
    """P, L and U from what `lu_factor` packed; what is not asked for is empty."""
    if unpack_pivots and LU_pivots.dtype is not dtypes.int32:
        raise RuntimeError(f"lu_unpack: LU_pivots is expected to be a tensor of torch.int32, but got {LU_pivots.dtype}")
    m, n = LU_data.shape[-2:]
    k = min(m, n)
    permutation = lower = upper = LU_data.new_empty(0)
    if unpack_pivots:
        order = apply(permutation_op, (LU_pivots,), {"rows": m})
        rows = arange(m, device=LU_data.device).unsqueeze(-1)
        permutation = (order.unsqueeze(-2) == rows).to(LU_data.dtype)
    if unpack_data:
        lower = LU_data[..., :k].tril(-1) + eye(m, k, dtype=LU_data.dtype, device=LU_data.device)
        upper = LU_data[..., :k, :].triu()
    return return_types.lu_unpack((permutation, lower, upper))


@takes_out
def lu_solve(LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False) -> Tensor:
    """The X with A X = B (X A = B where ``left`` is false, Aᴴ for A with ``adjoint``), from `lu_factor` of A."""
    name = "linalg.lu_solve"
    square_matrices(name, LU, "LU")
    matrices(name, B, "B")
    same_dtype(name, LU, B, "LU", "B")
    if pivots.dtype is not dtypes.int32:
        raise RuntimeError(f"{name}: pivots should be a Tensor of scalar type torch.int32, got {pivots.dtype}")
    if pivots.shape != LU.shape[:-1]:
        raise RuntimeError(f"{name}: pivots of shape {list(pivots.shape)} do not fit LU of shape {list(LU.shape)}")
    if B.shape[-2 if left else -1] != LU.shape[-1]:
        raise RuntimeError(f"{name}: Incompatible shapes of A {list(LU.shape)} and B {list(B.shape)}, left={left}")
    if not left:  # X A = B means Aᴴ Xᴴ = Bᴴ
        return lu_solve(LU, pivots, B.mH, adjoint=not adjoint).mH
    order = apply(permutation_op, (pivots,), {"rows": LU.shape[-1]})
    if adjoint:
        half = solve_triangular(LU.mH, B, upper=False)
        return take_rows(name, solve_triangular(LU.mH, half, upper=True, unitriangular=True), order.argsort(-1))
    half = solve_triangular(LU, take_rows(name, B, order), upper=False, unitriangular=True)
    return solve_triangular(LU, half, upper=True)


def take_rows(name: str, x: Tensor, order: Tensor) -> Tensor:
    """The rows of ``x``, broadcast to the batch of ``order``, in that order."""
    batch = broadcast_shapes(name, tuple(order.shape[:-1]), tuple(x.shape[:-2]))
    shape = (*batch, *x.shape[-2:])
    return x.expand(shape).gather(-2, order.unsqueeze(-1).expand(shape))
