"""Linear algebra of (batches of) matrices: ``torchlite.linalg``.

Norms and products are composed of operators; what LAPACK computes stands in `torchlite.ops.factorization`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from torchlite import backends, dtypes
from torchlite._tensor import Tensor, method, wrap
from torchlite.composites.general import norm as _norm
from torchlite.composites.products import multi_dot as multi_dot
from torchlite.dispatch import apply
from torchlite.ops import factorization
from torchlite.ops.arithmetic import where
from torchlite.ops.construct import dims_of
from torchlite.ops.contraction import matmul
from torchlite.ops.creation import eye
from torchlite.ops.joining import stack


class LinAlgError(RuntimeError):
    """A matrix is singular, not positive-definite, or its factorization did not converge."""


class SlogdetResult(NamedTuple):
    """The sign of a determinant and the logarithm of its size."""

    sign: Tensor
    logabsdet: Tensor


class QRResult(NamedTuple):
    """Orthonormal columns and an upper triangle."""

    Q: Tensor
    R: Tensor


class SVDResult(NamedTuple):
    """Left singular vectors, singular values, and right singular vectors (conjugated, as rows)."""

    U: Tensor
    S: Tensor
    Vh: Tensor


class SVDByColumns(NamedTuple):
    """As `SVDResult`, with the right singular vectors as columns: the older ``torch.svd``."""

    U: Tensor
    S: Tensor
    V: Tensor


class EigenResult(NamedTuple):
    """Eigenvalues, and eigenvectors as columns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class LstsqResult(NamedTuple):
    """What ``lstsq`` finds."""

    solution: Tensor
    residuals: Tensor
    rank: Tensor
    singular_values: Tensor


def _matrices(name: str, x: Tensor, *, square: bool = False) -> Tensor:
    if x.ndim < 2:
        raise RuntimeError(
            f"linalg.{name}: The input tensor A must have at least 2 dimensions, got shape {list(x.shape)}"
        )
    if x._data.dtype.kind not in "fc" or x.dtype.itemsize < 4:
        raise RuntimeError(f"linalg.{name}: Expected a floating point or complex tensor as input. Got {x.dtype}")
    if square and x.shape[-1] != x.shape[-2]:
        raise RuntimeError(
            f"linalg.{name}: A must be batches of square matrices, but they are {x.shape[-2]} by {x.shape[-1]} matrices"
        )
    return x


def _solved(name: str, op: Any, *inputs: Tensor, **params: Any) -> Any:
    try:
        return apply(op, inputs, params)
    except ValueError as error:  # NumPy's LinAlgError is one
        shapes = " and ".join(str(list(x.shape)) for x in inputs)
        raise LinAlgError(f"linalg.{name}: the computation failed for input of shape {shapes}: {error}") from None


@method("inverse")
def inv(A: Tensor) -> Tensor:
    """The inverse of square matrices.

    Raises:
        LinAlgError: for singular matrices; RuntimeError for those that are not square.
    """
    result: Tensor = _solved("inv", factorization.inverse_op, _matrices("inv", A, square=True))
    return result


def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """The X with A X = B (X A = B where ``left`` is false); ``B`` may be a (batch of) vector(s)."""
    _matrices("solve", A, square=True)
    if not left:
        return solve(A.mT, B.mT).mT
    column = B.ndim == 1 or (B.ndim == A.ndim - 1 and B.shape == A.shape[:-1])
    right = B.unsqueeze(-1) if column else B
    if right.shape[-2] != A.shape[-1]:
        raise RuntimeError(f"linalg.solve: incompatible shapes of A {list(A.shape)} and B {list(B.shape)}")
    result: Tensor = _solved("solve", factorization.solve_op, A, right)
    return result.squeeze(-1) if column else result


@method()
def det(A: Tensor) -> Tensor:
    """The determinant of square matrices."""
    return apply(factorization.determinant_op, (_matrices("det", A, square=True),))


@method()
def slogdet(A: Tensor) -> SlogdetResult:
    """The sign and ln|det| of square matrices."""
    return SlogdetResult(*apply(factorization.log_determinant_op, (_matrices("slogdet", A, square=True),)))


@method()
def logdet(A: Tensor) -> Tensor:
    """ln det of square matrices; NaN where it is negative."""
    sign, size = slogdet(A)
    return where(sign < 0, math.nan, size)


def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """The lower triangular L with L Lᴴ = A (the upper Lᴴ where asked) of positive-definite matrices.

    Raises:
        LinAlgError: for matrices that are not positive-definite.
    """
    lower: Tensor = _solved("cholesky", factorization.cholesky_op, _matrices("cholesky", A, square=True))
    return lower.mH if upper else lower


def qr(A: Tensor, mode: str = "reduced") -> QRResult:
    """Q with orthonormal columns and upper triangular R, A = Q R; ``mode`` is "reduced", "complete" or "r"."""
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'"
        )
    q, r = apply(factorization.qr_op, (_matrices("qr", A),), {"mode": "reduced" if mode == "r" else mode})
    return QRResult(q.new_empty(0) if mode == "r" else q, r)


def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> SVDResult:  # noqa: ARG001
    """U, S and Vᴴ with A = U diag(S) Vᴴ; S is descending. Vectors are unique up to sign (or phase)."""
    return SVDResult(*_solved("svd", factorization.svd_op, _matrices("svd", A), full=full_matrices))


def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:  # noqa: ARG001
    """Singular values, descending."""
    return svd(A, False).S


def svd_by_columns(input: Tensor, some: bool = True, compute_uv: bool = True) -> SVDByColumns:  # noqa: ARG001
    """U, S and V with input = U diag(S) Vᴴ: the older ``torch.svd``."""
    u, s, vh = svd(input, not some)
    return SVDByColumns(u, s, vh.mH)


method("svd")(svd_by_columns)


def eigh(A: Tensor, UPLO: str = "L") -> EigenResult:
    """Eigenvalues in ascending order and eigenvectors of symmetric (Hermitian) matrices."""
    lower = _matrices("eigh", A, square=True) if UPLO == "L" else A.mH
    return EigenResult(*_solved("eigh", factorization.eigh_op, lower))


def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """Eigenvalues of symmetric (Hermitian) matrices in ascending order."""
    return eigh(A, UPLO).eigenvalues


def vector_norm(
    x: Tensor, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: dtypes.dtype | None = None
) -> Tensor:
    """(Σ |x|ᵖ)^(1/p) over ``dim``, for p = ``ord``; the largest or smallest |x| for ±inf, the count of others for 0."""
    x = x if dtype is None else x.to(dtype)
    if x._data.dtype.kind in "biu":
        raise RuntimeError(f"linalg.vector_norm: Expected a floating point or complex tensor as input. Got {x.dtype}")
    return _norm(x.abs() if x.is_complex() else x, ord, dim, keepdim)


def matrix_norm(
    A: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: dtypes.dtype | None = None
) -> Tensor:
    """A norm of matrices: "fro" (Frobenius), "nuc" (Σ singular values), ±1, ±2 and ±inf as in PyTorch."""
    A = A if dtype is None else A.to(dtype)
    rows, columns = dims_of("linalg.matrix_norm", dim, A.ndim)
    if ord == "fro":
        return vector_norm(A, 2, (rows, columns), keepdim)
    if ord in ("nuc", 2, -2):
        x = A.movedim((rows, columns), (-2, -1))
        s = svdvals(x)
        value = s.sum(-1) if ord == "nuc" else s.amax(-1) if ord == 2 else s.amin(-1)
    elif ord in (1, -1, math.inf, -math.inf):
        summed = rows if abs(ord) == 1 else columns
        sums = A.abs().sum(summed, True)
        value = sums.amax((rows, columns)) if ord > 0 else sums.amin((rows, columns))
    else:
        raise RuntimeError(
            f"linalg.matrix_norm: Order {ord} not supported; use 'fro', 'nuc', inf, -inf, 1, -1, 2 or -2"
        )
    if keepdim:
        for d in sorted((rows, columns)):
            value = value.unsqueeze(d)
    return value


def norm(
    A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: dtypes.dtype | None = None
) -> Tensor:
    """`vector_norm`, or `matrix_norm` where ``dim`` names two dimensions or ``ord`` is one of matrices."""
    two = dim is not None and not isinstance(dim, int) and len(dim) == 2
    if ord is not None and (two or (dim is None and A.ndim == 2) or isinstance(ord, str)):
        return matrix_norm(A, ord, dim if two else (-2, -1), keepdim, dtype=dtype)
    return vector_norm(A, 2 if ord is None else ord, dim, keepdim, dtype=dtype)


def cond(A: Tensor, p: Any = None) -> Tensor:
    """The condition number: the norm of A times the norm of its inverse."""
    if p in (None, 2, -2):
        s = svdvals(A)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    return matrix_norm(A, p) * matrix_norm(inv(A), p)


def pinv(
    A: Tensor,
    rcond: float | None = None,
    *,
    atol: Any = None,
    rtol: Any = None,
    hermitian: bool = False,  # noqa: ARG001
) -> Tensor:
    """The Moore-Penrose pseudo-inverse; singular values up to max(atol, rtol · the largest) count as 0."""
    u, s, vh = svd(_matrices("pinv", A), False)
    if s.numel() == 0:
        return A.new_zeros((*A.shape[:-2], A.shape[-1], A.shape[-2]))
    small = s.detach() <= _tolerance(A, s, atol, rcond if rtol is None else rtol)
    inverse = where(small, 0.0, 1 / where(small, 1.0, s))
    return matmul(vh.mH * inverse.unsqueeze(-2).to(vh.dtype), u.mH)


def matrix_rank(A: Tensor, tol: Any = None, *, atol: Any = None, rtol: Any = None, hermitian: bool = False) -> Tensor:  # noqa: ARG001
    """The number of singular values above max(atol, rtol · the largest)."""
    s = svdvals(A.detach())
    return (s > _tolerance(A, s, tol if atol is None else atol, rtol)).sum(-1)


def _tolerance(A: Tensor, s: Tensor, atol: Any, rtol: Any) -> Any:
    if rtol is None:
        rtol = 0.0 if atol is not None else float(np.finfo(s._data.dtype).eps) * max(A.shape[-2:])
    relative = s.detach().amax(-1, True) * rtol
    return relative if atol is None else relative.clamp(min=atol)


def matrix_power(A: Tensor, n: int) -> Tensor:
    """A multiplied with itself n times, by repeated squaring; of the inverse for negative n."""
    _matrices("matrix_power", A, square=True)
    if n < 0:
        return matrix_power(inv(A), -n)
    result: Tensor | None = None
    square = A
    while n:
        if n & 1:
            result = square if result is None else matmul(result, square)
        n >>= 1
        square = matmul(square, square) if n else square
    return _unit(A) if result is None else result


method("matrix_power")(matrix_power)


def _unit(A: Tensor) -> Tensor:
    return eye(A.shape[-1], dtype=A.dtype, device=A.device).expand(A.shape).clone()


def matrix_exp(A: Tensor) -> Tensor:
    """Σ Aⁿ / n!, by Taylor's series of A / 2ˢ (norm at most 1/2, 18 terms), squared s times."""
    _matrices("matrix_exp", A, square=True)
    if A.numel() == 0:
        return A.clone()
    size = float(A.detach().abs().sum(-2).amax().item())
    squarings = max(0, math.ceil(math.log2(size)) + 1) if size > 0 and math.isfinite(size) else 0
    scaled = A / 2**squarings
    unit = _unit(A)
    result = unit
    for k in range(18, 0, -1):
        result = unit + matmul(scaled, result) / k
    for _ in range(squarings):
        result = matmul(result, result)
    return result


method("matrix_exp")(matrix_exp)


def solve_triangular(A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    """The X with A X = B (X A = B where ``left`` is false), of which only one triangle of A is read."""
    triangle = A.triu() if upper else A.tril()
    if unitriangular:
        unit = eye(A.shape[-1], dtype=A.dtype, device=A.device)
        triangle = triangle * (1 - unit) + unit
    if not left:
        return _solve_matrices(triangle.mT, B.mT).mT
    return _solve_matrices(triangle, B)


def _solve_matrices(A: Tensor, B: Tensor) -> Tensor:
    result: Tensor = _solved("solve_triangular", factorization.solve_op, A, B)
    return result


def lstsq(A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None) -> LstsqResult:  # noqa: ARG001
    """The X with the least ‖A X - B‖, and of the least norm among those: pinv(A) B."""
    column = B.ndim == A.ndim - 1
    right = B.unsqueeze(-1) if column else B
    solution = matmul(pinv(A, rcond), right)
    m, n = A.shape[-2:]
    residuals = (matmul(A, solution) - right).abs().square().sum(-2) if m > n else A.new_empty(0)
    rank, nothing = matrix_rank(A), A.new_empty(0)
    return LstsqResult(solution.squeeze(-1) if column else solution, residuals, rank, nothing)


def eig(A: Tensor) -> EigenResult:
    """Eigenvalues and eigenvectors of square matrices, complex; without gradient."""
    array = _matrices("eig", A, square=True).detach()._data
    values, vectors = backends.array_module(array).linalg.eig(array)
    kind = "c8" if array.dtype.itemsize // (2 if array.dtype.kind == "c" else 1) == 4 else "c16"
    return EigenResult(wrap(values.astype(kind)), wrap(vectors.astype(kind)))


def eigvals(A: Tensor) -> Tensor:
    """Eigenvalues of square matrices, complex; without gradient."""
    return eig(A).eigenvalues


@method("cross")
def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The cross product of vectors of three elements along ``dim``.

    Raises:
        RuntimeError: when the dimension has another length.
    """
    if input.shape[dim] != 3 or other.shape[dim] != 3:
        raise RuntimeError(
            f"linalg.cross: inputs dimension {dim} must have length 3. Got {input.shape[dim]} and {other.shape[dim]}"
        )
    (a1, a2, a3), (b1, b2, b3) = input.unbind(dim), other.unbind(dim)
    return stack([a2 * b3 - a3 * b2, a3 * b1 - a1 * b3, a1 * b2 - a2 * b1], dim)


def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """Σ conj(x) y along ``dim``."""
    product: Tensor = x.conj() * y
    return product.sum(dim)
