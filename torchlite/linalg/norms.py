"""Norms of vectors and matrices, and condition numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.autocasting import autocasts
from torchlite.ir import FLOAT32_ON_CPU, FLOAT32_ON_CUDA
from torchlite.linalg.checks import matrices, square_matrices
from torchlite.linalg.solutions import inv_ex
from torchlite.linalg.spectral import svdvals
from torchlite.names_of_numpy import taking_names_of_numpy
from torchlite.ops.arithmetic import where
from torchlite.ops.construct import dims_of
from torchlite.ops.destination import takes_out
from torchlite.ops.norms import vector_norm_of


@taking_names_of_numpy
@takes_out
@autocasts(FLOAT32_ON_CUDA)
def vector_norm(
    x: Tensor, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: dtypes.dtype | None = None
) -> Tensor:
    """(Σ |x|ᵖ)^(1/p) over ``dim``, for p = ``ord``; the largest or smallest |x| for ±inf, the count of others for 0.

    The gradient where the norm is 0 is 0.

    Raises:
        RuntimeError: for integers, and where nothing is left to choose from for a p below 0 or inf.
    """
    x = _converted("linalg.vector_norm", x, dtype)
    return vector_norm_of("linalg.vector_norm", x, float(ord), dim, keepdim)


def _converted(name: str, x: Tensor, dtype: dtypes.dtype | None) -> Tensor:
    if x._data.dtype.kind in "biu":
        raise RuntimeError(f"{name}: Expected a floating point or complex tensor as input. Got {x.dtype}")
    if dtype is None or dtype is x.dtype:
        return x
    if dtype.is_complex != x.is_complex():
        kind = "complex" if x.is_complex() else "real"
        raise RuntimeError(f"{name}: dtype should be {kind} for {kind} inputs, but got {dtype}")
    return x.to(dtype)


@taking_names_of_numpy
@takes_out
@autocasts(FLOAT32_ON_CUDA)
def matrix_norm(
    A: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: dtypes.dtype | None = None
) -> Tensor:
    """A norm of matrices: "fro" (Frobenius), "nuc" (Σ singular values), 2 and -2 (the largest and smallest of those),
    1 and -1 (of the columns' sums of sizes), inf and -inf (of the rows')."""
    name = "linalg.matrix_norm"
    if A.ndim < 2:
        raise RuntimeError(f"{name}: The input tensor A must have at least 2 dimensions, got shape {list(A.shape)}")
    A = _converted(name, A, dtype)
    if isinstance(dim, (int, np.integer)) or len(dim) != 2:
        raise RuntimeError(f"{name}: dim must be a 2-tuple. Got {dim}")
    rows, columns = dims_of(name, dim, A.ndim)
    if ord == "fro":
        return vector_norm(A, 2, (rows, columns), keepdim)
    if ord in ("nuc", 2, -2):
        s = svdvals(A.movedim((rows, columns), (-2, -1)))
        value = s.sum(-1) if ord == "nuc" else _largest(s, -1) if ord == 2 else s.amin(-1)
        return _restored(value, rows, columns) if keepdim else value
    if ord not in (1, -1, math.inf, -math.inf):
        raise RuntimeError(f"{name}: Order {ord} not supported; use 'fro', 'nuc', inf, -inf, 1, -1, 2 or -2")
    summed, kept = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = vector_norm(A, 1, summed, True)
    value = _largest(sums, kept, True) if ord > 0 else sums.amin(kept, True)
    return value if keepdim else value.squeeze((rows, columns))


def _largest(x: Tensor, dim: int, keepdim: bool = False) -> Tensor:
    """The largest of numbers that are not negative, 0 of none."""
    return x.amax(dim, keepdim) if x.shape[dim] else x.sum(dim, keepdim)


def _restored(value: Tensor, rows: int, columns: int) -> Tensor:
    for d in sorted((rows, columns)):
        value = value.unsqueeze(d)
    return value


@taking_names_of_numpy
@takes_out
@autocasts(FLOAT32_ON_CUDA)
def norm(
    A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: dtypes.dtype | None = None
) -> Tensor:
    """`matrix_norm` where ``dim`` names two dimensions (or A has two) and ``ord`` is given, else `vector_norm`."""
    if ord is None:
        return vector_norm(A, 2, dim, keepdim, dtype=dtype)
    if dim is None and A.ndim not in (1, 2):
        raise RuntimeError(
            f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {A.ndim}D."
        )
    pair = A.ndim == 2 if dim is None else not isinstance(dim, (int, np.integer)) and len(dim) == 2
    if pair or isinstance(ord, str):
        return matrix_norm(A, ord, (0, 1) if dim is None else dim, keepdim, dtype=dtype)
    return vector_norm(A, ord, dim, keepdim, dtype=dtype)


@takes_out
@autocasts(FLOAT32_ON_CPU)
def cond(A: Tensor, p: Any = None) -> Tensor:
    """The condition number: the norm of A times the norm of its inverse; inf for singular matrices."""
    matrices("linalg.cond", A)
    if p in (None, 2, -2):
        s = svdvals(A)
        if s.shape[-1] == 0:
            return s.sum(-1)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    if p not in ("fro", "nuc", 1, -1, math.inf, -math.inf):
        raise RuntimeError(f"linalg.cond got an invalid norm type: {p}")
    square_matrices(f"linalg.cond(ord={p})", A)
    if A.shape[-1] == 0:
        return vector_norm(A, 2, (-2, -1))
    inverse, info = inv_ex(A)
    return where(info > 0, math.inf, matrix_norm(A, p) * matrix_norm(inverse, p))
