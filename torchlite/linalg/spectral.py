"""Eigenvalues and singular values.

Without a gradient the values are computed without their vectors.
"""

from __future__ import annotations

from torchlite import return_types
from torchlite._tensor import Tensor
from torchlite.autocasting import autocasts
from torchlite.autograd.grad_mode import grad_mode
from torchlite.ir import FLOAT32_ON_CPU
from torchlite.linalg.checks import converged, matrices, square_matrices
from torchlite.ops.destination import takes_out
from torchlite.ops.spectral import eig_op, eigh_op, eigvals_op, eigvalsh_op, svd_op, svdvals_op
from torchlite.tracing import valid

_DRIVERS = (None, "gesvd", "gesvdj", "gesvda")


def _recorded(A: Tensor) -> bool:
    return A.requires_grad and grad_mode.enabled


@takes_out
@autocasts(FLOAT32_ON_CPU)
def eig(A: Tensor) -> return_types.Results:
    """Eigenvalues and eigenvectors of length 1 of square matrices, complex. Vectors are unique up to phase.

    Raises:
        RuntimeError: for matrices with infinities or NaN.
    """
    return return_types.linalg_eig(converged("linalg.eig", eig_op, _finite("linalg.eig", A)))


@takes_out
@autocasts(FLOAT32_ON_CPU)
def eigvals(A: Tensor) -> Tensor:
    """Eigenvalues of square matrices, complex."""
    return eig(A).eigenvalues if _recorded(A) else converged("linalg.eigvals", eigvals_op, _finite("linalg.eigvals", A))


def _finite(name: str, A: Tensor) -> Tensor:
    square_matrices(name, A)
    if not A.is_meta and not valid(A.detach().isfinite().all()):
        raise RuntimeError(f"{name}: input tensor should not contain infs or NaNs.")
    return A


@takes_out
@autocasts(FLOAT32_ON_CPU)
def eigh(A: Tensor, UPLO: str = "L") -> return_types.Results:
    """Eigenvalues in ascending order and eigenvectors of symmetric (Hermitian) matrices, of which one triangle is read.

    Raises:
        LinAlgError: where the computation does not converge.
    """
    triangle = _triangle("linalg.eigh", UPLO)
    return return_types.linalg_eigh(
        converged("linalg.eigh", eigh_op, square_matrices("linalg.eigh", A), triangle=triangle)
    )


@takes_out
@autocasts(FLOAT32_ON_CPU)
def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """Eigenvalues of symmetric (Hermitian) matrices in ascending order."""
    if _recorded(A):
        return eigh(A, UPLO).eigenvalues
    triangle = _triangle("linalg.eigvalsh", UPLO)
    return converged("linalg.eigvalsh", eigvalsh_op, square_matrices("linalg.eigvalsh", A), triangle=triangle)


def _triangle(name: str, UPLO: str) -> str:
    if UPLO.upper() not in ("L", "U"):
        raise RuntimeError(f"{name}: Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    return UPLO.upper()


@takes_out
@autocasts(FLOAT32_ON_CPU)
def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> return_types.Results:
    """U, S and Vᴴ with A = U diag(S) Vᴴ; S is descending. Vectors are unique up to sign (or phase).

    ``driver`` chooses cuSOLVER's method in PyTorch, and has no effect here.
    """
    _check_driver("linalg.svd", A, driver)
    return return_types.linalg_svd(converged("linalg.svd", svd_op, matrices("linalg.svd", A), full=full_matrices))


@takes_out
@autocasts(FLOAT32_ON_CPU)
def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """Singular values, descending."""
    if _recorded(A):
        return svd(A, False, driver=driver).S
    _check_driver("linalg.svdvals", A, driver)
    return converged("linalg.svdvals", svdvals_op, matrices("linalg.svdvals", A))


def _check_driver(name: str, A: Tensor, driver: str | None) -> None:
    if driver not in _DRIVERS:
        raise RuntimeError(f"{name}: unknown svd driver {driver}; use None, 'gesvd', 'gesvdj' or 'gesvda'")
    if driver is not None and not A.is_cuda:
        raise RuntimeError(f"{name}: keyword argument `driver=` is only supported on CUDA inputs")
