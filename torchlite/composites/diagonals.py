"""Diagonals and triangles of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite import dtypes
from torchlite._tensor import Tensor, method
from torchlite.autocasting import autocasts
from torchlite.dispatch import apply
from torchlite.integers import takes_integers
from torchlite.ir import Autocast
from torchlite.ops.construct import dims_of
from torchlite.ops.creation import arange, tensor
from torchlite.ops.destination import OutDtype, takes_out_as
from torchlite.ops.mutation import embed_view
from torchlite.ops.views import diagonal, diagonal_op


@method()
@takes_integers
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices in ``dim1`` and ``dim2`` of the result with the last dimension of ``input`` on a diagonal."""
    first, second = (dims_of("diag_embed", d, input.ndim + 1)[0] for d in (dim1, dim2))
    if first == second:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    n = input.shape[-1] + abs(offset)
    shape = list(input.shape[:-1])
    for place in sorted((first, second)):
        shape.insert(place, n)
    recipe = ((diagonal_op, {"offset": offset, "dim1": first, "dim2": second}),)
    return apply(embed_view, (input,), {"recipe": recipe, "shape": tuple(shape)})


@takes_out_as(OutDtype.SAME)
@method()
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """The matrix with a vector on its diagonal, or a copy of the diagonal of a matrix."""
    if input.ndim == 1:
        return diag_embed(input, diagonal)
    if input.ndim != 2:
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {input.ndim}D")
    return input.diagonal(diagonal).clone()


@method()
def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """The matrix with the flattened tensor on its diagonal."""
    return diag_embed(input.reshape(-1), offset)


@method()
def fill_diagonal_(self: Tensor, fill_value: Any, wrap: bool = False) -> Tensor:
    """Write a number on the main diagonal, of a tensor of equal lengths or a matrix.

    Args:
        self: the tensor.
        fill_value: the number.
        wrap: whether in a tall matrix the diagonal begins again below, one row apart.

    Raises:
        RuntimeError: for a vector, and for more than two dimensions of different lengths.
    """
    if self.ndim < 2:
        raise RuntimeError(f"fill_diagonal_: dimensions must be larger than 1, got {self.ndim}")
    if self.ndim > 2 and len(set(self.shape)) > 1:
        raise RuntimeError(f"fill_diagonal_: all dimensions must be of equal length, got shape {list(self.shape)}")
    rows, columns = self.shape[0], self.shape[-1]
    if wrap and self.ndim == 2:
        flat = arange(0, rows * columns, columns + 1, device=self.device)
        self[flat // columns, flat % columns] = fill_value
    else:
        self[(arange(min(rows, columns), device=self.device),) * self.ndim] = fill_value
    return self


@method()
@autocasts(Autocast("float32", "as given"))
def trace(input: Tensor) -> Tensor:
    """Sum of the diagonal of a matrix."""
    if input.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {input.ndim}")
    return diagonal(input).sum()


def _indices(rows: Any, columns: Any, dtype: dtypes.dtype, device: Any) -> Tensor:
    return tensor(np.stack([rows, columns]), dtype=dtype, device=device)


@takes_integers
def tril_indices(
    row: int,
    col: int,
    offset: int = 0,
    *,
    dtype: dtypes.dtype = dtypes.int64,
    device: Any = None,
    layout: Any = None,  # noqa: ARG001
) -> Tensor:
    """Rows and columns of the elements of a row × col matrix on and below a diagonal; shape (2, n)."""
    return _indices(*np.tril_indices(row, offset, col), dtype, device)


@takes_integers
def triu_indices(
    row: int,
    col: int,
    offset: int = 0,
    *,
    dtype: dtypes.dtype = dtypes.int64,
    device: Any = None,
    layout: Any = None,  # noqa: ARG001
) -> Tensor:
    """Rows and columns of the elements of a row × col matrix on and above a diagonal; shape (2, n)."""
    return _indices(*np.triu_indices(row, offset, col), dtype, device)
