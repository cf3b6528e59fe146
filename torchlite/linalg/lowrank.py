"""Approximations of large matrices of low rank, by random projection.

Source: N. Halko, P. Martinsson and J. Tropp, Finding structure with randomness (2009), algorithms 4.4 and 5.1.
"""

from __future__ import annotations

from torchlite._tensor import Tensor
from torchlite.autocasting import autocasts
from torchlite.ir import Autocast
from torchlite.linalg.checks import matrices
from torchlite.linalg.orthogonal import qr
from torchlite.linalg.spectral import svd
from torchlite.ops.random import randn


def _basis(A: Tensor, q: int, niter: int, M: Tensor | None) -> Tensor:
    """Orthonormal columns (*, m, q) that span most of what A - M maps to."""

    def forward(x: Tensor) -> Tensor:
        return A @ x if M is None else A @ x - M @ x

    def backward(x: Tensor) -> Tensor:
        return A.mH @ x if M is None else A.mH @ x - M.mH @ x

    columns = qr(forward(randn(A.shape[-1], q, dtype=A.dtype, device=A.device))).Q
    for _ in range(niter):
        columns = qr(forward(qr(backward(columns)).Q)).Q
    return columns


@autocasts(Autocast("float32", "as given"))
def svd_lowrank(
    A: Tensor, q: int | None = 6, niter: int | None = 2, M: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """U, S and V of the ``q`` largest singular values of A - M, approximately: A - M ≈ U diag(S) Vᴴ.

    Args:
        A: matrices (*, m, n).
        q: somewhat more than the rank that is looked for.
        niter: iterations, each of which makes the result more exact.
        M: what is subtracted from A, broadcast, without computing A - M.
    """
    matrices("svd_lowrank", A)
    q = 6 if q is None else q
    if not 0 <= q <= min(A.shape[-2:]):
        raise ValueError(
            f"svd_lowrank: q(={q}) must be non-negative and not greater than min(m, n)={min(A.shape[-2:])}"
        )
    shift = None if M is None else M.expand(A.shape)
    tall = A.shape[-2] >= A.shape[-1]
    if not tall:
        A, shift = A.mH, None if shift is None else shift.mH
    columns = _basis(A, q, 2 if niter is None else niter, shift)
    small = columns.mH @ A if shift is None else columns.mH @ A - columns.mH @ shift
    u, s, vh = svd(small, False)
    u, v = columns @ u, vh.mH
    return (u, s, v) if tall else (v, s, u)


@autocasts(Autocast("float32", "as given"))
def pca_lowrank(A: Tensor, q: int | None = None, center: bool = True, niter: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """U, S and V of the ``q`` (by default 6) largest principal components of the rows of A, centred first, approximately."""
    m, n = A.shape[-2:]
    q = min(6, m, n) if q is None else q
    if not 0 <= q <= min(m, n):
        raise ValueError(f"pca_lowrank: q(={q}) must be non-negative and not greater than min(m, n)={min(m, n)}")
    if niter < 0:
        raise ValueError(f"pca_lowrank: niter(={niter}) must be non-negative")
    return svd_lowrank(A - A.mean(-2, True) if center else A, q, niter)
