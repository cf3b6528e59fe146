"""Factorizations with orthonormal columns: QR, and products of Householder's reflections.

The product H₁ H₂ … of reflections Hᵢ = 1 - τᵢ vᵢ vᵢᴴ is 1 - V T Vᴴ with the upper triangular T = D (1 + S D)⁻¹, where D is
diag(τ) and S the part of Vᴴ V above its diagonal (C. Puglisi, Modification of the Householder method, 1992).
"""

from __future__ import annotations

from torchlite import return_types
from torchlite._tensor import Tensor, method
from torchlite.autocasting import autocasts
from torchlite.dispatch import apply
from torchlite.ir import FLOAT32_ON_CPU
from torchlite.linalg.checks import matrices
from torchlite.linalg.solutions import solve_triangular
from torchlite.ops.creation import eye
from torchlite.ops.destination import takes_out
from torchlite.ops.factorization import householder_op, qr_op


@takes_out
@autocasts(FLOAT32_ON_CPU)
def qr(A: Tensor, mode: str = "reduced") -> return_types.Results:
    """Q with orthonormal columns and upper triangular R, A = Q R; ``mode`` is "reduced", "complete" or "r" (R only)."""
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'"
        )
    q, r = apply(qr_op, (matrices("linalg.qr", A),), {"mode": "reduced" if mode == "r" else mode})
    return return_types.linalg_qr((q.new_empty(0) if mode == "r" else q, r))


@takes_out
@method()
@autocasts(FLOAT32_ON_CPU)
def geqrf(input: Tensor) -> return_types.Results:
    """R and Householder's reflections, whose product is Q, of matrices; without gradient."""
    return return_types.geqrf(apply(householder_op, (matrices("geqrf", input, "input"),)))


@takes_out
@autocasts(FLOAT32_ON_CPU)
def householder_product(A: Tensor, tau: Tensor) -> Tensor:
    """The first n columns of the product of the reflections that `geqrf` of matrices (m, n) gives."""
    name = "linalg.householder_product"
    _check_reflections(name, A, tau)
    m, n = A.shape[-2:]
    if m < n:
        raise RuntimeError(
            f"{name}: input.shape[-2] must be greater than or equal to input.shape[-1], got {list(A.shape)}"
        )
    vectors, triangle = _compact(A, tau)
    return eye(m, n, dtype=A.dtype, device=A.device) - vectors @ (triangle @ vectors[..., :n, :].mH)


method("orgqr")(householder_product)


@takes_out
@method()
@autocasts(FLOAT32_ON_CPU)
def ormqr(input: Tensor, tau: Tensor, other: Tensor, left: bool = True, transpose: bool = False) -> Tensor:
    """Q C (C Q where ``left`` is false, Qᴴ for Q with ``transpose``) for C = ``other`` and Q from `geqrf`."""
    _check_reflections("ormqr", input, tau)
    matrices("ormqr", other, "other")
    side = -2 if left else -1
    if other.shape[side] != input.shape[-2]:
        raise RuntimeError(
            f"ormqr: other.shape[{side}] must be equal to input.shape[-2], got {list(other.shape)} and {list(input.shape)}"
        )
    if other.shape[:-2] != input.shape[:-2]:
        raise RuntimeError(
            f"ormqr: batch dimensions of other should be equal to input.shape[:-2], got {list(other.shape)} and "
            f"{list(input.shape)}"
        )
    if other.dtype is not input.dtype:
        raise RuntimeError(
            f"ormqr: Expected input and other to have the same dtype, got {input.dtype} and {other.dtype}"
        )
    vectors, triangle = _compact(input, tau)
    middle = triangle.mH if transpose else triangle
    if left:
        return other - vectors @ (middle @ (vectors.mH @ other))
    return other - ((other @ vectors) @ middle) @ vectors.mH


def _check_reflections(name: str, A: Tensor, tau: Tensor) -> None:
    matrices(name, A, "input")
    if tau.ndim != A.ndim - 1 or tau.shape[:-1] != A.shape[:-2]:
        raise RuntimeError(
            f"{name}: Expected tau to have one dimension less than input and its batch dimensions, but got shapes "
            f"{list(tau.shape)} and {list(A.shape)}"
        )
    if tau.shape[-1] > A.shape[-1]:
        raise RuntimeError(
            f"{name}: input.shape[-1] must be greater than or equal to tau.shape[-1], got {A.shape[-1]} and {tau.shape[-1]}"
        )
    if tau.dtype is not A.dtype:
        raise RuntimeError(f"{name}: tau dtype {tau.dtype} does not match input dtype {A.dtype}")


def _compact(A: Tensor, tau: Tensor) -> tuple[Tensor, Tensor]:
    """The vectors V, and T."""
    k = tau.shape[-1]
    vectors = A[..., :k].tril(-1) + eye(A.shape[-2], k, dtype=A.dtype, device=A.device)
    scales = tau.unsqueeze(-2)
    mixed = (vectors.mH @ vectors).triu(1) * scales
    triangle = solve_triangular(mixed, tau.diag_embed(), upper=True, left=False, unitriangular=True)
    return vectors, triangle
