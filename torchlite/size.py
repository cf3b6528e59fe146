"""Shapes as PyTorch has them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_tuple = tuple.__new__


class Size(tuple[int, ...]):
    """The shape of a tensor: a tuple of lengths that stays one when it is sliced, added to or repeated.

    >>> Size([2, 3])[1:] + (4,)
    torch.Size([3, 4])

    Raises:
        TypeError: for what is no integer.
    """

    def __new__(cls, lengths: Iterable[Any] = ()) -> Size:
        """Check the lengths; `size_of` does without."""
        return _tuple(cls, [_length(i, n) for i, n in enumerate(lengths)])

    def numel(self) -> int:
        """Product of the lengths."""
        n = 1
        for length in self:
            n *= length
        return n

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        return _tuple(Size, found) if isinstance(index, slice) else found

    def __add__(self, other: Any) -> Size:
        return _tuple(Size, super().__add__(tuple(other)))

    def __radd__(self, other: Any) -> Size:
        return _tuple(Size, tuple(other) + tuple(self))

    def __mul__(self, times: Any) -> Size:
        return _tuple(Size, super().__mul__(times))

    __rmul__ = __mul__

    def __repr__(self) -> str:
        return f"torch.Size({list(self)})"

    def __reduce__(self) -> Any:
        return Size, (tuple(self),)


def size_of(shape: tuple[int, ...]) -> Size:
    """The shape of an array as a `Size`."""
    return _tuple(Size, shape)


def _length(place: int, n: Any) -> int:
    if hasattr(n, "__index__"):
        return int(n)
    raise TypeError(f"torch.Size() takes an iterable of 'int' (item {place} is '{type(n).__name__}')")
