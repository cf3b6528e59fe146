"""Factorizations by elimination that NumPy lacks or gives no diagnosis for: LU, LDLᵀ, triangular systems, Cholesky.

The loops run over columns; every step works on a whole batch, and most of the arithmetic is in products of blocks. ``info``
is LAPACK's: 0, or the number (from 1) of the pivot that is zero or of the leading minor that is not positive. Sources:
Golub and Van Loan, Matrix Computations (2013), chapters 3 and 4; Bunch and Kaufman (1977) for the pivots of LDLᵀ.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite.backends import lapack

_BLOCK = 32


def _no_failure(xp: Any, a: Any) -> Any:
    return xp.zeros(a.shape[:-2], np.int32)


def inverse(xp: Any, a: Any) -> tuple[Any, Any]:
    """The inverses, and info; where one is singular its elements are infinite or NaN."""
    try:
        return lapack.inverse(xp, a), _no_failure(xp, a)
    except np.linalg.LinAlgError:
        return _eliminate(xp, a, xp.broadcast_to(xp.eye(a.shape[-1], dtype=a.dtype), a.shape))


def solve(xp: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """The X with A X = B, and info; where A is singular its elements are infinite or NaN."""
    try:
        return lapack.solve(xp, a, b), _no_failure(xp, a)
    except np.linalg.LinAlgError:
        return _eliminate(xp, a, b)


def _eliminate(xp: Any, a: Any, b: Any) -> tuple[Any, Any]:
    factors, pivots, info = lu(xp, a, pivot=True)
    rows = permutation(xp, pivots, a.shape[-1])[..., None]
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    right = xp.broadcast_to(b, (*batch, *b.shape[-2:]))
    permuted = xp.take_along_axis(right, xp.broadcast_to(rows, (*batch, *rows.shape[-2:])), axis=-2)
    return solve_triangular(xp, factors, solve_triangular(xp, factors, permuted, False, True), True, False), info


def solve_triangular(xp: Any, a: Any, b: Any, upper: bool, unit: bool) -> Any:
    """The X with A X = B, of which one triangle of A is read; a zero on the diagonal gives infinities."""
    lapack.refuse_halves(a, b)
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    x = xp.array(xp.broadcast_to(b, (*batch, *b.shape[-2:])), copy=True, order="C")
    _substitute(a, x, upper, unit)
    return x


def _substitute(a: Any, x: Any, upper: bool, unit: bool) -> None:
    """Solve in place: the system is halved until row by row is cheaper."""
    n = a.shape[-1]
    if n > _BLOCK:
        middle = n // 2
        head, tail = slice(0, middle), slice(middle, n)
        first, second = (tail, head) if upper else (head, tail)
        _substitute(a[..., first, first], x[..., first, :], upper, unit)
        x[..., second, :] -= a[..., second, first] @ x[..., first, :]
        _substitute(a[..., second, second], x[..., second, :], upper, unit)
        return
    for step in range(n):
        i = n - 1 - step if upper else step
        known = slice(i + 1, n) if upper else slice(0, i)
        row = x[..., i : i + 1, :]
        if step:
            row -= a[..., i : i + 1, known] @ x[..., known, :]
        if not unit:
            row /= a[..., i : i + 1, i : i + 1]


def pivot_size(xp: Any, x: Any) -> Any:
    """The size by which LAPACK chooses pivots: |re| + |im|."""
    return xp.abs(x.real) + xp.abs(x.imag) if x.dtype.kind == "c" else xp.abs(x)


def first_failure(xp: Any, failed: Any) -> Any:
    """The number (from 1) of the first step along the last dimension that failed, 0 where none did."""
    if failed.shape[-1] == 0:
        return xp.zeros(failed.shape[:-1], np.int32)
    return xp.where(failed.any(axis=-1), failed.argmax(axis=-1) + 1, 0).astype(np.int32)


def swap_rows(a: Any, batch: Any, rows: Any, others: Any) -> None:
    """Exchange the row ``rows`` of every matrix of a stack with its row ``others``."""
    moved = a[batch, others]  # a copy: the indices are arrays
    a[batch, others] = a[batch, rows]
    a[batch, rows] = moved


def lu(xp: Any, a: Any, *, pivot: bool) -> tuple[Any, Any, Any]:
    """L and U in one matrix with A = P L U, the row (from 1) that each row was exchanged with, and info."""
    lapack.refuse_halves(a)
    m, n = a.shape[-2:]
    steps = min(m, n)
    x = xp.array(a, copy=True, order="C").reshape(int(np.prod(a.shape[:-2])), m, n)
    batch = xp.arange(len(x))
    pivots = xp.empty((len(x), steps), np.int32)
    pivots[...] = xp.arange(1, steps + 1)
    for start in range(0, steps, _BLOCK):
        stop = min(start + _BLOCK, steps)
        for j in range(start, stop):
            if pivot:
                chosen = pivot_size(xp, x[:, j:, j]).argmax(axis=1) + j
                pivots[:, j] = chosen + 1
                swap_rows(x, batch, j, chosen)
            head = x[:, j, j][:, None]
            below = x[:, j + 1 :, j]
            below /= xp.where(head == 0, xp.ones((), x.dtype), head)
            x[:, j + 1 :, j + 1 : stop] -= below[:, :, None] * x[:, j, None, j + 1 : stop]
        right = x[:, start:stop, stop:]
        _substitute(x[:, start:stop, start:stop], right, upper=False, unit=True)
        x[:, stop:, stop:] -= x[:, stop:, start:stop] @ right
    info = first_failure(xp, xp.diagonal(x, axis1=1, axis2=2)[:, :steps] == 0)
    lead = a.shape[:-2]
    return x.reshape(a.shape), pivots.reshape(*lead, steps), info.reshape(lead)


def permutation(xp: Any, pivots: Any, rows: int) -> Any:
    """The order of the rows after the exchanges that ``pivots`` (..., k) lists: row i of Pᵀ A is row order[i] of A."""
    lead = pivots.shape[:-1]
    flat = pivots.reshape(int(np.prod(lead)), pivots.shape[-1])
    order = xp.empty((len(flat), rows), np.int64)
    order[...] = xp.arange(rows)
    batch = xp.arange(len(flat))
    for i in range(flat.shape[-1]):
        swap_rows(order, batch, i, flat[:, i].astype(np.int64) - 1)
    return order.reshape(*lead, rows)


def cholesky(xp: Any, a: Any) -> tuple[Any, Any]:
    """The lower triangular L with L Lᴴ = A, and info; from the minor that is not positive on, A remains."""
    try:
        return lapack.cholesky(xp, a), _no_failure(xp, a)
    except np.linalg.LinAlgError:
        return _cholesky_by_columns(xp, a)


def _cholesky_by_columns(xp: Any, a: Any) -> tuple[Any, Any]:
    n = a.shape[-1]
    x = xp.tril(a)
    failed = xp.zeros((*a.shape[:-2], n), bool)
    for j in range(n):
        column = x[..., j:, j] - (x[..., j:, :j] @ x[..., j, :j, None].conj())[..., 0]
        head = column[..., :1].real
        failed[..., j] = failed[..., j - 1] if j else False
        failed[..., j] |= ~(head[..., 0] > 0)
        stopped = failed[..., j, None]
        done = column / xp.sqrt(xp.where(stopped, xp.ones((), head.dtype), head))
        x[..., j:, j] = xp.where(stopped, x[..., j:, j], done)
    return x, first_failure(xp, failed)
