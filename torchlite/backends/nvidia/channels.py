"""Arrays (N, C, *) whose channels lie innermost in memory."""

from __future__ import annotations

import functools
from typing import Any

from torchlite.backends.memory import dense_strides

Shape = tuple[int, ...]


def last(ndim: int) -> Shape:
    """The dimensions of (N, C, *) from the slowest to the fastest, channels last."""
    return (0, *range(2, ndim), 1)


def are_last(array: Any) -> bool:
    """Whether channels lie innermost in memory, and nothing else could be said of it."""
    return innermost(array.shape, array.strides, array.dtype)


@functools.lru_cache(1024)
def innermost(shape: Shape, strides: Shape, dtype: Any) -> bool:
    """`are_last` of an array of this shape with these strides in bytes."""
    return (
        len(shape) >= 4 and not without_gaps(shape, strides, dtype, False) and without_gaps(shape, strides, dtype, True)
    )


def without_gaps(shape: Shape, strides: Shape, dtype: Any, channels_last: bool) -> bool:
    """Whether an array lies in memory without gaps, channels innermost or not."""
    wanted = dense_strides(shape, last(len(shape)) if channels_last else ())
    return 0 in shape or all(
        n == 1 or step == place * dtype.itemsize for n, step, place in zip(shape, strides, wanted, strict=True)
    )


def dense(xp: Any, array: Any, channels_last: bool) -> Any:
    """The array without gaps, channels innermost or not."""
    if not channels_last:
        return xp.ascontiguousarray(array)
    return _moved_back(xp.ascontiguousarray(array.transpose(last(array.ndim))))


def empty(xp: Any, shape: Shape, dtype: Any, channels_last: bool) -> Any:
    """A new array without gaps, channels innermost or not."""
    if not channels_last:
        return xp.empty(shape, dtype)
    return _moved_back(xp.empty([shape[d] for d in last(len(shape))], dtype))


def _moved_back(array: Any) -> Any:
    """An array (N, *, C) as (N, C, *)."""
    return array.transpose(0, array.ndim - 1, *range(1, array.ndim - 1))
