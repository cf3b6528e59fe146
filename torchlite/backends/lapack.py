"""LAPACK's factorizations as NumPy and CuPy both give them: by ``xp.linalg``, around what CuPy does differently.

CuPy leaves NaN where NumPy raises, unless told otherwise; its `solve` does not broadcast, its `qr` takes one matrix at a
time, some of its functions do not take empty arrays, and general eigenvalues are computed on the host.
"""

from __future__ import annotations

import contextlib
import importlib
from typing import Any

import numpy as np

from torchlite import backends


def raising(xp: Any) -> Any:
    """Within this context a factorization that fails raises NumPy's ``LinAlgError``, also on a GPU."""
    return contextlib.nullcontext() if xp is np else importlib.import_module("cupyx").errstate(linalg="raise")


def refuse_halves(*matrices: Any) -> None:
    """Refuse half types, as LAPACK does, in what goes through its matrices by array operations.

    Raises:
        TypeError: for any of them.
    """
    for a in matrices:
        if a.dtype.itemsize < 4:
            raise TypeError(f"array type {a.dtype} is unsupported in linear algebra; convert to float32")


def inverse(xp: Any, a: Any) -> Any:
    """The inverse of each matrix."""
    with raising(xp):
        return xp.linalg.inv(a)


def solve(xp: Any, a: Any, b: Any) -> Any:
    """The X with A X = B, with batches that broadcast."""
    if xp is np:
        return np.linalg.solve(a, b)
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = (xp.broadcast_to(x, (*batch, *x.shape[-2:])) for x in (a, b))
    with raising(xp):
        return xp.linalg.solve(a, b) if b.size else b.copy()


def cholesky(xp: Any, a: Any) -> Any:
    """The lower factor of each matrix."""
    with raising(xp):
        return xp.linalg.cholesky(a) if a.size else a.copy()


def qr(xp: Any, a: Any, mode: str) -> tuple[Any, Any]:
    """Q and R, or in mode "raw" the transposed reflections and their scales."""
    if xp is np or a.ndim == 2:
        first, second = xp.linalg.qr(a, mode)
    else:
        matrices = a.reshape(int(np.prod(a.shape[:-2])), *a.shape[-2:])
        each = [xp.linalg.qr(m, mode) for m in (matrices if len(matrices) else xp.zeros((1, *a.shape[-2:]), a.dtype))]
        first, second = (xp.stack(part)[: len(matrices)] for part in zip(*each, strict=True))
        first, second = (part.reshape(*a.shape[:-2], *part.shape[1:]) for part in (first, second))
    return first.astype(a.dtype, copy=False), second.astype(a.dtype, copy=False)


def svd(xp: Any, a: Any, full: bool) -> tuple[Any, Any, Any]:
    """U, S and Vᴴ."""
    with raising(xp):
        u, s, vh = xp.linalg.svd(a, full_matrices=full)
    return u, s, vh


def svdvals(xp: Any, a: Any) -> Any:
    """Singular values."""
    with raising(xp):
        return xp.linalg.svd(a, compute_uv=False)


def eigh(xp: Any, a: Any, triangle: str) -> tuple[Any, Any]:
    """Eigenvalues and eigenvectors of Hermitian matrices, of which one triangle is read."""
    if a.size == 0:
        return xp.zeros(a.shape[:-1], a.real.dtype), a.copy()
    with raising(xp):
        values, vectors = xp.linalg.eigh(a, triangle)
    return values, vectors


def eigvalsh(xp: Any, a: Any, triangle: str) -> Any:
    """Eigenvalues of Hermitian matrices."""
    if a.size == 0:
        return xp.zeros(a.shape[:-1], a.real.dtype)
    with raising(xp):
        return xp.linalg.eigvalsh(a, triangle)


def eig(xp: Any, a: Any) -> tuple[Any, Any]:
    """Eigenvalues and eigenvectors; NumPy's are real where all happen to be."""
    values, vectors = np.linalg.eig(backends.to_numpy(a))
    return xp.asarray(values), xp.asarray(vectors)


def eigvals(xp: Any, a: Any) -> Any:
    """Eigenvalues; NumPy's are real where all happen to be."""
    return xp.asarray(np.linalg.eigvals(backends.to_numpy(a)))
