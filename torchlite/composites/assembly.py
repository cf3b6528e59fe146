"""Composites that make one tensor of several, or fit several to each other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations as index_combinations
from itertools import combinations_with_replacement
from typing import Any

import numpy as np

from torchlite._tensor import Tensor
from torchlite.dtypes import int64
from torchlite.ir import broadcast_shapes as _broadcast
from torchlite.ops.construct import common_dtype
from torchlite.ops.creation import tensor
from torchlite.ops.destination import OutDtype, takes_out_as
from torchlite.ops.joining import cat, expect_tensors, stack
from torchlite.ops.views import expand, reshape
from torchlite.size import Size


def _given(tensors: tuple[Any, ...]) -> tuple[Tensor, ...]:
    """``f(a, b)`` and ``f([a, b])`` mean the same."""
    return tuple(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors


def broadcast_shapes(*shapes: Any) -> Size:
    """The shape that tensors of ``shapes`` broadcast to; a number stands for a shape of one dimension."""
    return Size(
        _broadcast("broadcast_shapes", *((s,) if isinstance(s, (int, np.integer)) else tuple(s) for s in shapes))
    )


def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """The tensors expanded to one shape."""
    given = _given(tensors)
    shape = _broadcast("broadcast_tensors", *(tuple(x.shape) for x in given))
    return tuple(expand(x, shape) for x in given)


def atleast_1d(*tensors: Any) -> Any:
    """Numbers as vectors of one element, everything else as it is."""
    return _each(tensors, lambda x: reshape(x, 1) if x.ndim == 0 else x)


def atleast_2d(*tensors: Any) -> Any:
    """Numbers and vectors as matrices of one row."""
    return _each(tensors, lambda x: reshape(x, 1, -1) if x.ndim < 2 else x)


def atleast_3d(*tensors: Any) -> Any:
    """Vectors as 1 × n × 1 and matrices as n × m × 1."""
    return _each(tensors, lambda x: x.unsqueeze(-1) if x.ndim == 2 else reshape(x, 1, -1, 1) if x.ndim < 2 else x)


def _each(tensors: tuple[Any, ...], change: Any) -> Any:
    if len(tensors) == 1 and isinstance(tensors[0], Tensor):
        return change(tensors[0])
    return tuple(change(x) for x in _given(tensors))


@takes_out_as(OutDtype.JOINED)
def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors beside each other: along dimension 1, or 0 of vectors."""
    parts = atleast_1d(list(expect_tensors("hstack", tensors)))
    return cat(parts, 0 if parts[0].ndim == 1 else 1)


@takes_out_as(OutDtype.JOINED)
def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors below each other, vectors as rows."""
    return cat(atleast_2d(list(expect_tensors("vstack", tensors))), 0)


row_stack = vstack


@takes_out_as(OutDtype.JOINED)
def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors behind each other, along dimension 2."""
    return cat(atleast_3d(list(expect_tensors("dstack", tensors))), 2)


@takes_out_as(OutDtype.JOINED)
def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors beside each other, vectors as columns."""
    parts = expect_tensors("column_stack", tensors)
    return cat([reshape(x, -1, 1) if x.ndim < 2 else x for x in parts], 1)


def block_diag(*tensors: Tensor) -> Tensor:
    """A matrix with the given ones along its diagonal, and 0 elsewhere.

    Raises:
        RuntimeError: for a tensor of more than two dimensions.
    """
    for i, x in enumerate(tensors):
        if x.ndim > 2:
            raise RuntimeError(
                f"torch.block_diag: Input tensors must have 2 or fewer dimensions. Input {i} has {x.ndim} dimensions"
            )
    if not tensors:
        return tensor([]).reshape(1, 0)
    dtype = common_dtype(tensors)
    blocks = [x.to(dtype) for x in atleast_2d(list(tensors))]
    width = sum(x.shape[1] for x in blocks)
    rows, start = [], 0
    for x in blocks:
        height, n = x.shape
        rows.append(cat([x.new_zeros(height, start), x, x.new_zeros(height, width - start - n)], 1))
        start += n
    return cat(rows, 0)


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """The coordinates of a grid whose axes are the given vectors.

    Args:
        tensors: vectors or numbers.
        indexing: "ij" for a result of shape (n₀, n₁, …), "xy" for one with the first two exchanged.

    Raises:
        RuntimeError: for another ``indexing``, and for tensors of more than one dimension.
    """
    axes = _given(tensors)
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    for x in axes:
        if x.ndim > 1:
            raise RuntimeError(f"torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: {x.ndim}D")
    shape = tuple(x.numel() for x in axes)
    grids = tuple(
        expand(reshape(x, tuple(-1 if d == i else 1 for d in range(len(axes)))), shape) for i, x in enumerate(axes)
    )
    return tuple(g.transpose(0, 1) for g in grids) if indexing == "xy" and len(axes) > 1 else grids


def cartesian_prod(*tensors: Tensor) -> Tensor:
    """Every combination of one element of each vector, one a row; a single vector as it is."""
    if len(tensors) == 1:
        return tensors[0]
    return stack([reshape(grid, -1) for grid in meshgrid(*tensors)], 1)


def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """Every choice of ``r`` elements of a vector in their order, one a row.

    Raises:
        RuntimeError: for a tensor that is no vector, or a negative ``r``.
    """
    if input.ndim != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(input.shape)}")
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    if r == 0:
        return input.new_empty(0)
    choose = combinations_with_replacement if with_replacement else index_combinations
    chosen = list(choose(range(input.shape[0]), r))
    return input[tensor(chosen, dtype=int64, device=input.device).reshape(len(chosen), r)]
