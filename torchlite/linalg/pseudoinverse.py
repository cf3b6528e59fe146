"""Matrices that need not have full rank: the pseudo-inverse, the rank, least squares."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite import dtypes, return_types
from torchlite._tensor import Tensor
from torchlite.autocasting import autocasts
from torchlite.dispatch import apply
from torchlite.ir import FLOAT32_ON_CPU
from torchlite.linalg.checks import is_vector, matrices, same_dtype, square_matrices
from torchlite.linalg.spectral import eigvalsh, svdvals
from torchlite.ops.arithmetic import maximum, where
from torchlite.ops.destination import takes_out
from torchlite.ops.inversion import real_dtype
from torchlite.ops.spectral import pinv_op
from torchlite.tracing import valid

_DRIVERS = ("gels", "gelsy", "gelsd", "gelss")


@takes_out
def pinv(A: Tensor, rcond: Any = None, *, atol: Any = None, rtol: Any = None, hermitian: bool = False) -> Tensor:
    """The Moore-Penrose pseudo-inverse; singular values up to max(atol, rtol · the largest) count as 0.

    Of ``hermitian`` matrices the lower triangle is read. The tolerances may be tensors, one for each matrix; without any,
    rtol is the dtype's epsilon times the longer side.
    """
    (square_matrices if hermitian else matrices)("linalg.pinv", A)
    tolerances = _tolerances(A, atol, rcond if rtol is None else rtol)
    return apply(pinv_op, (A, *tolerances), {"hermitian": hermitian})


@takes_out
@autocasts(FLOAT32_ON_CPU)
def matrix_rank(A: Tensor, tol: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None) -> Tensor:
    """The number of singular values (absolute eigenvalues of ``hermitian`` ones) above max(atol, rtol · the largest)."""
    (square_matrices if hermitian else matrices)("linalg.matrix_rank", A)
    sizes = eigvalsh(A.detach()).abs() if hermitian else svdvals(A.detach())
    if tol is not None:
        atol, rtol = tol, 0.0
    return _rank(sizes, *_tolerances(A, atol, rtol))


def _rank(sizes: Tensor, atol: Tensor, rtol: Tensor) -> Tensor:
    if sizes.shape[-1] == 0:
        return sizes.new_zeros(sizes.shape[:-1], dtype=dtypes.int64)
    limit = maximum(atol, rtol * sizes.amax(-1))
    return (sizes > limit.unsqueeze(-1)).sum(-1)


def _tolerances(A: Tensor, atol: Any, rtol: Any) -> tuple[Tensor, Tensor]:
    dtype = real_dtype(A._data.dtype)

    def as_tensor(value: Any) -> Tensor:
        if isinstance(value, Tensor):
            return value.detach().to(dtypes.of(dtype))
        return A.new_full((), value, dtype=dtypes.of(dtype))

    absolute = as_tensor(0.0 if atol is None else atol)
    default = float(np.finfo(dtype).eps) * max(A.shape[-2:])
    relative = where(absolute > 0, as_tensor(0.0), default) if rtol is None else as_tensor(rtol)
    return absolute, relative


@takes_out
@autocasts(FLOAT32_ON_CPU)
def lstsq(A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None) -> return_types.Results:
    """The X with the least ‖A X - B‖, and of the least norm among those: pinv(A) B.

    Args:
        A: matrices (*, m, n).
        B: right-hand sides (*, m, k), or vectors (*, m).
        rcond: singular values up to this times the largest count as 0; by default epsilon times the longer side.
        driver: which results are computed, as with LAPACK's functions: "gelsy" (the default) the rank, "gelsd" and
            "gelss" singular values and Σ|A X - B|² as well, "gels" only the latter.

    Raises:
        RuntimeError: for shapes that do not fit, or an unknown driver.
    """
    name = "linalg.lstsq"
    matrices(name, A)
    driver = "gelsy" if driver is None else driver
    if driver not in _DRIVERS:
        raise RuntimeError(f"{name}: parameter `driver` should be one of {', '.join(_DRIVERS)}, got {driver}")
    same_dtype(name, A, B)
    vector = is_vector(A, B)
    right = B.unsqueeze(-1) if vector else B
    if right.ndim < 2 or right.shape[-2] != A.shape[-2]:
        raise RuntimeError(
            f"{name}: input.size(-2) should match other.size(-2), got {list(A.shape)} and {list(B.shape)}"
        )
    solution = pinv(A, rcond) @ right
    values = svdvals(A.detach())
    rank = _rank(values, *_tolerances(A, None, rcond))
    m, n = A.shape[-2:]
    determined = m > n and driver != "gelsy" and (driver == "gels" or A.is_meta or valid((rank == n).all()))
    residuals = (A @ solution - right).abs().square().sum(-2) if determined else solution.real.reshape(-1)[:0]
    return return_types.linalg_lstsq(
        (
            solution.squeeze(-1) if vector else solution,
            residuals,
            rank.new_empty(0) if driver == "gels" else rank,
            values if driver in ("gelsd", "gelss") else values.new_empty(0),
        )
    )
