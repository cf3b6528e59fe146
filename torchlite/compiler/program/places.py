"""Where the values of a program lie in memory: which buffer, where in it, and with which strides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from torchlite.backends.memory import address, untouched
from torchlite.compiler.graph import Value

Array = np.ndarray[Any, Any]
Order = tuple[int, ...]
"""The dimensions of an array from the one with the largest stride to the one with the smallest."""

CHANNELS_LAST: Order = (0, 2, 3, 1)
"""The order of arrays (N, C, H, W) in which channels lie side by side."""


@dataclass(eq=False)
class Buffer:
    """A piece of memory.

    Attributes:
        kind: of the ``arena``, an ``input`` or ``constant`` of the program, or a ``result`` that it gives away.
        number: which input, constant or result.
        bytes: its size.
        start: the address of the first element of its ghost.
        offset: in the arena, once that is planned.
    """

    kind: Literal["arena", "input", "constant", "result"]
    number: int
    bytes: int
    start: int
    offset: int = -1


@dataclass(frozen=True, eq=False)
class Place:
    """Where a value lies.

    Attributes:
        buffer: in which memory.
        ghost: an array without meaningful numbers that lies in other memory as the value lies in the buffer.
    """

    buffer: Buffer
    ghost: Array

    @property
    def offset(self) -> int:
        """Bytes from the buffer's start."""
        return address(self.ghost) - self.buffer.start

    @property
    def strides(self) -> tuple[int, ...]:
        """Elements from one index to the next, for each dimension."""
        return tuple(s // self.ghost.itemsize for s in self.ghost.strides)

    @property
    def order(self) -> Order | None:
        """How it lies, where it is dense: its dimensions from the largest stride to the smallest."""
        return order_of(self.ghost)

    def is_at(self, other: Place) -> bool:
        """Whether each element of two values of one shape is the same memory."""
        return self.buffer is other.buffer and (self.offset, self.strides) == (other.offset, other.strides)

    def seen(self, ghost: Array) -> Place:
        """The place of a view, which ``ghost`` is of this one's."""
        return Place(self.buffer, ghost)


def fresh(shape: Sequence[int], dtype: Any, order: Order | None) -> Array:
    """A ghost whose dimensions lie in the given order, densely."""
    if order is None or order == tuple(range(len(shape))):
        return untouched(shape, dtype)
    return untouched([shape[d] for d in order], dtype).transpose(np.argsort(order))


def order_of(ghost: Array) -> Order | None:
    """The dimensions from the largest stride to the smallest, where no elements lie between; None otherwise."""
    if ghost.flags.c_contiguous:
        return tuple(range(ghost.ndim))
    order = tuple(sorted(range(ghost.ndim), key=lambda d: (-ghost.strides[d], ghost.shape[d] != 1, d)))
    return order if ghost.transpose(order).flags.c_contiguous else None


def of_input(array: Array, number: int) -> Place | None:
    """The place of an input that lies as ``array``; None where its strides are no whole elements."""
    if any(s % array.itemsize for s in array.strides):
        return None
    low = sum((n - 1) * s for n, s in zip(array.shape, array.strides, strict=True) if s < 0 and n)
    high = sum((n - 1) * s for n, s in zip(array.shape, array.strides, strict=True) if s > 0 and n)
    memory = untouched([high - low + array.itemsize], np.uint8)
    ghost: Array = np.ndarray(array.shape, array.dtype, memory.data, -low, array.strides)
    return Place(Buffer("input", number, memory.nbytes, address(ghost)), ghost)


def of_value(
    v: Value, kind: Literal["arena", "result"], number: int, order: Order | None, margins: tuple[int, int] = (0, 0)
) -> Place:
    """A new place for a value, with so many rows of memory before and behind it."""
    assert v.aval is not None
    if not any(margins):
        ghost = fresh(v.aval.shape, v.aval.dtype, order)
        return Place(Buffer(kind, number, ghost.nbytes, address(ghost)), ghost)
    count, *rest = v.aval.shape
    memory = fresh((count + sum(margins), *rest), v.aval.dtype, None)
    return Place(Buffer(kind, number, memory.nbytes, address(memory)), memory[margins[0] :][:count])
