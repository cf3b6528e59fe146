"""Finding, counting and ordering values; most results depend on the numbers and carry no gradient."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from torchlite import backends, dtypes, return_types
from torchlite._tensor import Tensor, method, wrap
from torchlite.composites.general import nonzero
from torchlite.integers import takes_integers
from torchlite.ops.creation import as_tensor
from torchlite.ops.destination import OutDtype, takes_out_as
from torchlite.ops.scan import sort


@method()
def argwhere(input: Tensor) -> Tensor:
    """The positions of the elements that are not 0, one a row."""
    return nonzero(input)


@takes_out_as(OutDtype.SAME)
@method()
def msort(input: Tensor) -> Tensor:
    """The elements in order along dimension 0."""
    return sort(input, 0).values


@takes_out_as(OutDtype.SAME)
@method()
@takes_integers
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> return_types.Results:
    """The ``k``-th smallest element along ``dim``, counted from 1, and where it was."""
    n = 1 if input.ndim == 0 else input.shape[input._checked_dim(dim)]
    if not 1 <= k <= n:
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {dim}: k is {k} of {n} elements")
    values, indices = sort(input, dim, stable=True)
    if input.ndim:
        values, indices = (x.select(dim, k - 1).clone() for x in (values, indices))
        if keepdim:
            values, indices = values.unsqueeze(dim), indices.unsqueeze(dim)
    return return_types.kthvalue((values, indices))


@takes_out_as(OutDtype.SAME)
def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Whether each of ``elements`` is among ``test_elements``, or with ``invert`` is not."""
    tensors = [as_tensor(v) for v in (elements, test_elements)]
    xp = backends.array_module(tensors[0]._data)
    found = xp.isin(tensors[0]._data, tensors[1]._data, assume_unique=assume_unique, invert=invert)
    return wrap(xp.asarray(found))


def _searched(xp: Any, sorted_sequence: Any, values: Any, side: str) -> Any:
    if sorted_sequence.ndim == 1:
        return xp.searchsorted(sorted_sequence, values, side=side)
    rows, wanted = (a.reshape(math.prod(a.shape[:-1]), a.shape[-1]) for a in (sorted_sequence, values))
    found = [xp.searchsorted(row, some, side=side) for row, some in zip(rows, wanted, strict=True)]
    return xp.stack(found).reshape(values.shape) if found else xp.zeros(values.shape, "int64")


@takes_out_as(OutDtype.SAME)
def searchsorted(
    sorted_sequence: Tensor,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """Where in the last, sorted dimension each value would be inserted to keep the order.

    Args:
        sorted_sequence: a vector, or a tensor whose leading dimensions are those of ``input``.
        input: the values, a tensor or a number.
        out_int32: whether positions are int32 instead of int64.
        right: whether a value goes behind its equals.
        side: "left" or "right", the same by name.
        sorter: the positions that sort ``sorted_sequence`` where it is not.

    Raises:
        RuntimeError: when ``right`` and ``side`` contradict each other, or the leading dimensions differ.
    """
    if side not in (None, "left", "right") or (side == "left" and right):
        raise RuntimeError(f"torch.searchsorted(): side must be 'left' or 'right' and agree with right, got {side!r}")
    values = input if isinstance(input, Tensor) else as_tensor(input, device=sorted_sequence.device)
    if sorted_sequence.ndim != 1 and tuple(sorted_sequence.shape[:-1]) != tuple(values.shape[:-1]):
        raise RuntimeError(
            "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries tensor "
            f"and input value tensor must match, but we got {list(sorted_sequence.shape)} and {list(values.shape)}"
        )
    ordered = sorted_sequence if sorter is None else sorted_sequence.gather(-1, sorter)
    xp = backends.array_module(ordered._data)
    found = _searched(xp, ordered._data, values._data, "right" if right or side == "right" else "left")
    return wrap(xp.asarray(found).astype("int32" if out_int32 else "int64"))


@takes_out_as(OutDtype.SAME)
def bucketize(input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """The number of the bucket between ``boundaries`` (sorted) that each value falls into."""
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


@method()
def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often (or with what total weight) each of 0, 1, 2, … occurs in a vector.

    Raises:
        RuntimeError: for anything but a vector of non-negative integers, and for weights of another length.
    """
    if input.ndim != 1 or input._data.dtype.kind not in "iu" or (input.numel() and int(input.min()) < 0):
        raise RuntimeError(
            f"bincount only supports 1-d non-negative integral inputs, got {input.dtype} of shape {list(input.shape)}"
        )
    if weights is not None and weights.shape != input.shape:
        raise RuntimeError(f"weights should be 1-d and have the same length as input, got {list(weights.shape)}")
    xp = backends.array_module(input._data)
    if weights is None:
        return wrap(xp.bincount(input._data, minlength=minlength).astype("int64"))
    dtype = weights._data.dtype if weights.dtype is dtypes.float32 else dtypes.float64.numpy
    return wrap(xp.bincount(input._data, weights._data, minlength).astype(dtype))


@method()
def unique(
    input: Tensor,
    sorted: bool = True,  # noqa: ARG001 - the result is always sorted, as PyTorch's on the CPU
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The different elements (or parts along ``dim``) in order.

    Args:
        input: the tensor.
        sorted: accepted as PyTorch does.
        return_inverse: also give for each element the position of its equal in the result.
        return_counts: also give how often each occurs.
        dim: compare whole parts along this dimension.
    """
    data = input.detach()._data
    xp = backends.array_module(data)
    axis = None if dim is None else input._checked_dim(dim)
    sortable = data.astype(np.float32) if xp is not np and input.dtype is dtypes.bfloat16 else data  # CuPy's order
    values, inverse, counts = xp.unique(sortable, return_inverse=True, return_counts=True, axis=axis)
    values = values.astype(data.dtype, copy=False)
    inverse = inverse.reshape(data.shape if axis is None else -1)
    return _chosen(values, inverse, counts, return_inverse, return_counts)


@method()
def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The elements (or parts along ``dim``) without those equal to the one before; arguments as in `unique`."""
    data = input.detach()._data
    xp = backends.array_module(data)
    whole = data.reshape(-1) if dim is None else xp.moveaxis(data, input._checked_dim(dim), 0)
    n = whole.shape[0]
    flat = whole.reshape(n, math.prod(whole.shape[1:]))
    first = xp.ones(n, bool)
    first[1:] = (flat[1:] != flat[:-1]).any(1)
    inverse = xp.cumsum(first) - 1
    counts = xp.bincount(inverse, minlength=int(first.sum()))
    values = whole[first] if dim is None else xp.moveaxis(whole[first], 0, dim)
    return _chosen(
        values, inverse.reshape(data.shape) if dim is None else inverse, counts, return_inverse, return_counts
    )


def _chosen(values: Any, inverse: Any, counts: Any, with_inverse: bool, with_counts: bool) -> Any:
    results = [wrap(values)]
    if with_inverse:
        results.append(wrap(inverse.astype("int64")))
    if with_counts:
        results.append(wrap(counts.astype("int64")))
    return results[0] if len(results) == 1 else tuple(results)


def unravel_index(indices: Tensor, shape: Any) -> tuple[Tensor, ...]:
    """The coordinates, one tensor a dimension, of positions in a flattened array of ``shape``.

    Raises:
        TypeError: for indices that are no integers.
        ValueError: for a negative length.
    """
    if indices._data.dtype.kind not in "iu":
        raise TypeError(f"expected 'indices' to be integer dtype, but got {indices.dtype}")
    lengths = (
        [int(n) for n in (shape.tolist() if isinstance(shape, Tensor) else shape)]
        if not isinstance(shape, int)
        else [shape]
    )
    if any(n < 0 for n in lengths):
        raise ValueError(f"'shape' cannot have negative values, but got {tuple(lengths)}")
    step, coordinates = 1, []
    for n in reversed(lengths):
        coordinates.append(indices.div(step, rounding_mode="floor") % n if n else indices)
        step *= n
    return tuple(reversed(coordinates))
