"""LDLᵀ of symmetric (and LDLᴴ of Hermitian) matrices that need not be definite, with Bunch and Kaufman's pivots.

D has blocks of one or two rows. The result is packed as LAPACK's ``sytrf`` packs it, lower triangle: D and the unit
columns of L in one matrix; ``pivots`` holds at k the row (from 1) that was exchanged with row k, or for a block of two
rows, twice, the negative of the one that was exchanged with its second row.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite.backends import lapack
from torchlite.backends.elimination import first_failure, pivot_size, swap_rows

_ALPHA = (1 + 17**0.5) / 8  # bounds the growth of a step with one row and of one with two equally


def ldl(xp: Any, a: Any, *, hermitian: bool) -> tuple[Any, Any, Any]:
    """L and D packed in one matrix, pivots, and info (the first zero block of D)."""
    lapack.refuse_halves(a)
    lead, n = a.shape[:-2], a.shape[-1]
    x = _whole(xp, a.reshape(int(np.prod(lead)), n, n), hermitian)
    count = len(x)
    pivots = xp.zeros((count, n), np.int32)
    singular = xp.zeros((count, n), bool)
    second = xp.zeros(count, bool)  # whether row k is the second one of a block
    for k in range(n):
        active = xp.nonzero(~second)[0]
        second = xp.zeros(count, bool)
        if not len(active):
            continue
        other, double, empty = _choose(xp, x[active], k, hermitian)
        singular[active, k] = empty
        for rows, size in ((~double, 1), (double, 2)):
            chosen = active[rows]
            if len(chosen):
                _step(xp, x, chosen, k, size, other[rows], empty[rows], hermitian)
                pivots[chosen, k : k + size] = (other[rows, None] + 1) * (1 if size == 1 else -1)
        second[active[double]] = True
    info = first_failure(xp, singular)
    return xp.tril(x).reshape(a.shape), pivots.reshape(*lead, n), info.reshape(lead)


def _whole(xp: Any, a: Any, hermitian: bool) -> Any:
    """Both triangles from the lower one."""
    lower = xp.tril(a, -1).swapaxes(-1, -2)
    diagonal = xp.tril(a) - xp.tril(a, -1)
    return xp.tril(a, -1) + (diagonal.real if hermitian else diagonal) + (lower.conj() if hermitian else lower)


def _choose(xp: Any, x: Any, k: int, hermitian: bool) -> tuple[Any, Any, Any]:
    """For step k of each matrix: the row to exchange, whether two rows are eliminated, whether the column is zero."""
    n = x.shape[-1]
    batch = xp.arange(len(x))
    corner = xp.abs(x[:, k, k].real) if hermitian else pivot_size(xp, x[:, k, k])
    if k == n - 1:
        return xp.full(len(x), k), xp.zeros(len(x), bool), corner == 0
    column = pivot_size(xp, x[:, k + 1 :, k])
    largest = column.argmax(axis=1) + k + 1
    column_max = column.max(axis=1)
    row = pivot_size(xp, x[batch, largest, k:])
    on_diagonal = x[batch, largest, largest]
    diagonal = xp.abs(on_diagonal.real) if hermitian else pivot_size(xp, on_diagonal)
    row[batch, largest - k] = 0
    row_max = row.max(axis=1)
    empty = xp.maximum(corner, column_max) == 0
    stay = (corner >= _ALPHA * column_max) | (corner * row_max >= _ALPHA * column_max * column_max) | empty
    single = stay | (diagonal >= _ALPHA * row_max)
    return xp.where(stay, k, largest), ~single, empty


def _step(xp: Any, x: Any, chosen: Any, k: int, size: int, other: Any, empty: Any, hermitian: bool) -> None:
    """Exchange row and column ``other`` with the last of the block at k, and eliminate the block."""
    part = x[chosen, k:, k:]
    batch, place, last = xp.arange(len(chosen)), other - k, size - 1
    swap_rows(part, batch, last, place)
    swap_rows(part.swapaxes(1, 2), batch, last, place)
    below = part[:, size:, :size]
    block = part[:, :size, :size].copy()
    block[empty] = xp.eye(size, dtype=x.dtype)
    factor = below @ xp.linalg.inv(block)  # the columns of L
    transposed = below.swapaxes(-1, -2)
    part[:, size:, size:] -= factor @ (transposed.conj() if hermitian else transposed)
    part[:, size:, :size] = xp.where(empty[:, None, None], below, factor)
    x[chosen, k:, k:] = part


def unpack(xp: Any, packed: Any, pivots: Any, *, hermitian: bool) -> tuple[Any, Any, Any]:
    """The unit lower triangular L, D, and the order of the rows with A[order][:, order] = L D Lᵀ."""
    lapack.refuse_halves(packed)
    lead, n = packed.shape[:-2], packed.shape[-1]
    x = packed.reshape(int(np.prod(lead)), n, n)
    exchanged = pivots.reshape(len(x), n)
    starts = _block_starts(xp, exchanged)
    pairs = xp.zeros(starts.shape, bool)  # whether row k is the first one of two
    pairs[:, :-1] = ~starts[:, 1:]
    every, heads = xp.arange(n), xp.arange(max(n - 1, 0))
    beside = xp.where(pairs[:, :-1], xp.diagonal(x, -1, 1, 2), xp.zeros((), x.dtype))
    blocks = xp.zeros_like(x)
    blocks[:, every, every] = xp.diagonal(x, 0, 1, 2)
    blocks[:, heads + 1, heads] = beside
    blocks[:, heads, heads + 1] = beside.conj() if hermitian else beside
    lower = xp.tril(x, -1)
    lower[:, heads + 1, heads] -= beside
    order = xp.empty((len(x), n), np.int64)
    order[...] = every
    batch = xp.arange(len(x))
    for k in range(n):
        rows = k + pairs[:, k]
        others = xp.where(starts[:, k], xp.abs(exchanged[:, k]).astype(np.int64) - 1, rows)
        swap_rows(order, batch, rows, others)
        swap_rows(lower[:, :, :k], batch, rows, others)
    lower[:, every, every] = 1
    return lower.reshape(packed.shape), blocks.reshape(packed.shape), order.reshape(*lead, n)


def _block_starts(xp: Any, pivots: Any) -> Any:
    """Whether each row is the first of its block."""
    starts = xp.ones(pivots.shape, bool)
    for k in range(1, pivots.shape[1]):
        starts[:, k] = ~(starts[:, k - 1] & (pivots[:, k - 1] < 0))
    return starts
