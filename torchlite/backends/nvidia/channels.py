"""Arrays (N, C, *) whose channels lie innermost in memory."""

from __future__ import annotations

from typing import Any

Shape = tuple[int, ...]


def last(ndim: int) -> Shape:
    """The dimensions of (N, C, *) from the slowest to the fastest, channels last."""
    return (0, *range(2, ndim), 1)


def are_last(array: Any) -> bool:
    """Whether channels lie innermost in memory, and nothing else could be said of it."""
    if array.ndim < 4 or array.flags.c_contiguous:
        return False
    return bool(array.transpose(last(array.ndim)).flags.c_contiguous)


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
