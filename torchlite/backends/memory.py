"""The memory behind arrays: where an array lies in it, and other arrays that look at it.

Strides and offsets count elements, as PyTorch's do. Whatever is made here is checked against the end of the memory.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from torchlite import backends

Layout = tuple[tuple[int, ...], int]


def memory(array: Any) -> Any:
    """All bytes of the allocation that ``array`` is a view of, as a vector of uint8 that shares it."""
    owner = array
    while isinstance(owner.base, type(array)):
        owner = owner.base
    if not isinstance(owner, np.ndarray) and (whole := _told(owner)) is not None:
        return whole
    if owner.flags.c_contiguous:
        return owner.reshape(-1).view(np.uint8)
    xp = backends.array_module(owner)
    if owner.size == 0:
        return xp.empty(0, np.uint8)
    forward = owner[tuple(slice(None, None, -1 if step < 0 else 1) for step in owner.strides)]
    nbytes = span(owner.shape, forward.strides) - 1 + owner.itemsize
    first = forward[(slice(0, 1),) * owner.ndim].reshape(-1).view(np.uint8)
    return xp.lib.stride_tricks.as_strided(first, (nbytes,), (1,))


def layout(array: Any) -> Layout:
    """The strides of ``array`` and the position of its first element in its memory."""
    size = array.dtype.itemsize
    return tuple(step // size for step in array.strides), (address(array) - address(memory(array))) // size


def rooted(array: Any) -> Any:
    """``array`` as if it owned its memory: views of it don't reach the rest of the array that it is a part of."""
    if array.base is None:
        return array
    return np.lib.stride_tricks.as_strided(array, array.shape, array.strides)


# In CPython an array is a PyObject followed by the address of its numbers, which NumPy's C interface documents. Reading it
# there takes a tenth of a microsecond, through `ctypes.data` it is a whole one.
CPYTHON = sys.implementation.name == "cpython"


def address(array: Any) -> int:
    """Where the first element is."""
    if CPYTHON and type(array) is np.ndarray:
        return ctypes.c_void_p.from_address(id(array) + object.__basicsize__).value or 0
    return int(array.ctypes.data if isinstance(array, np.ndarray) else array.data.ptr)


def extent(array: Any) -> tuple[int, int]:
    """The addresses of an array's first byte and of the one behind its last."""
    start = address(array)
    if array.flags.c_contiguous:
        return start, start + array.nbytes
    return start, start + span(array.shape, array.strides) - 1 + array.itemsize


def overlaps_itself(array: Any) -> bool:
    """Whether several elements of ``array`` may be one number in memory, as in what is expanded."""
    if isinstance(array, np.ndarray):
        return not array.flags.writeable
    return any(step == 0 and n > 1 for n, step in zip(array.shape, array.strides, strict=True))


def share_memory(x: Any, y: Any) -> bool:
    """Whether two arrays may have an element in common."""
    xp = backends.array_module(x)
    return xp is backends.array_module(y) and bool(xp.may_share_memory(x, y))


def span(shape: Sequence[int], strides: Sequence[int]) -> int:
    """How many elements lie from the first to the last one of an array, both included; 0 for an empty one."""
    return 0 if 0 in shape else 1 + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))


def strided(memory: Any, dtype: Any, shape: tuple[int, ...], layout: Layout) -> Any:
    """The array of ``shape`` that lies in ``memory`` (bytes) as ``layout`` says.

    Raises:
        ValueError: when it would reach beyond.
    """
    strides, offset = layout
    first, length = offset * dtype.itemsize, span(shape, strides)
    if length == 0:
        first = 0
    if first < 0 or min(strides, default=0) < 0 or first + length * dtype.itemsize > memory.size:
        raise ValueError(f"an array of shape {shape}, strides {strides} and offset {offset} reaches beyond its memory")
    steps = tuple(step * dtype.itemsize for step in strides)
    if isinstance(memory, np.ndarray):  # unlike `as_strided` this remembers the owner
        return np.ndarray(shape, dtype, memory, first, steps)
    xp = backends.array_module(memory)
    pointer = xp.cuda.MemoryPointer(
        xp.cuda.UnownedMemory(memory.data.ptr, memory.nbytes, memory, memory.device.id), first
    )
    return xp.ndarray(shape, dtype, pointer, steps)


def untouched(shape: Sequence[int], dtype: Any) -> np.ndarray[Any, Any]:
    """An array without meaningful numbers, which is only asked how it lies in memory.

    All of them lie in the same memory, of which no page is ever touched, so it takes none.
    """
    global _untouched
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if not size:  # NumPy gives such an array other strides in memory that it has not allocated itself
        return np.empty(shape, dtype)
    memory = _untouched
    if memory is None or len(memory) < size:  # of its own: an allocator might give what is there and free
        memory = _untouched = mmap.mmap(-1, max(2 * size, 1 << 24), access=mmap.ACCESS_COPY)
    return np.ndarray(shape, dtype, memory)


_untouched: mmap.mmap | None = None


def _told(array: Any) -> Any:
    """The bytes that an array of CuPy without a base was told to lie in, by `strided` for one; None where it owns its own."""
    xp, mem = backends.array_module(array), array.data.mem
    return (
        xp.ndarray(mem.size, np.uint8, xp.cuda.MemoryPointer(mem, 0))
        if isinstance(mem, xp.cuda.UnownedMemory)
        else None
    )


def laid_out(array: Any, layout: Layout, numel: int) -> Any:
    """A copy of ``array`` that lies as ``layout`` says in new memory of at least ``numel`` elements."""
    strides, offset = layout
    length = max(numel, offset + span(array.shape, strides))
    bytes_ = backends.array_module(array).zeros(length * array.dtype.itemsize, np.uint8)
    out = strided(bytes_, array.dtype, array.shape, layout)
    out[...] = array
    return out


def dense_strides(shape: Sequence[int], order: Sequence[int] = ()) -> tuple[int, ...]:
    """The strides of an array without gaps, row-major or with its dimensions, the slowest first, as ``order`` lists them."""
    strides, n = [0] * len(shape), 1
    for d in reversed(order or range(len(shape))):
        strides[d] = n
        n *= max(shape[d], 1)
    return tuple(strides)
