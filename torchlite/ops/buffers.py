"""Tensors that share the memory of other objects, or copy it where they can't."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.ops.conversion import clone
from torchlite.ops.creation import as_tensor, tensor
from torchlite.ops.exchange import from_numpy


def frombuffer(
    buffer: Any, *, dtype: dtypes.dtype, count: int = -1, offset: int = 0, requires_grad: bool = False
) -> Tensor:
    """A vector that shares the memory of an object with Python's buffer protocol.

    Args:
        buffer: bytes, a bytearray, a memoryview, an array, ….
        dtype: how to read the bytes.
        count: how many elements; all by default.
        offset: how many bytes to leave out before.
        requires_grad: whether operations on it are recorded.

    Raises:
        ValueError: for an object without that protocol, and when ``count`` and ``offset`` do not fit its length.
    """
    try:
        length = memoryview(buffer).nbytes
    except TypeError:
        raise ValueError(f"object does not implement Python buffer protocol: {type(buffer).__name__}") from None
    if length == 0 or count == 0:
        raise ValueError(f"both buffer length ({length}) and count ({count}) must not be 0")
    if not 0 <= offset < length:
        raise ValueError(
            f"offset ({offset} bytes) must be non-negative and no greater than buffer length ({length}) minus 1"
        )
    size = dtype.itemsize
    if count < 0 and (length - offset) % size:
        raise ValueError(
            f"buffer length ({length} bytes) after offset ({offset} bytes) must be a multiple of element size ({size})"
        )
    if count * size > length - offset:
        raise ValueError(
            f"requested buffer length ({count} * {size} bytes) after offset ({offset} bytes) must not be greater than "
            f"actual buffer length ({length} bytes)"
        )
    return from_numpy(np.frombuffer(buffer, dtype.numpy, max(count, -1), offset)).requires_grad_(requires_grad)


def asarray(
    obj: Any,
    *,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
    copy: bool | None = None,
    requires_grad: bool | None = None,
) -> Tensor:
    """Any object as a tensor: with the memory and history of a tensor, the memory of an array or buffer, else a copy.

    Args:
        obj: a tensor, an array, an object with the buffer protocol, a number, or nested sequences of numbers.
        dtype, device: what to convert to.
        copy: True to copy in any case, False to refuse to.
        requires_grad: True to record operations on the result, False to leave the history of ``obj`` behind.

    Raises:
        ValueError: when ``copy`` is False and the memory can't be shared.
    """
    source = _shared(obj, dtype)
    if source is None:
        if copy is False:
            raise ValueError(f"can't alias {type(obj).__name__} into a tensor")
        return tensor(obj, dtype=dtype, device=device, requires_grad=bool(requires_grad))
    result = as_tensor(source, dtype, device)
    if result is not source and copy is False:
        raise ValueError(
            f"can't alias a tensor of {source.dtype} on {source.device} as {result.dtype} on {result.device}"
        )
    if result is source and copy:
        result = clone(source)
    if requires_grad is False:
        return result.detach()
    return result.requires_grad_() if requires_grad and result.is_leaf else result


def _shared(obj: Any, dtype: dtypes.dtype | None) -> Tensor | None:
    """A tensor in the memory of ``obj``, None where it has none to share."""
    if isinstance(obj, Tensor):
        return obj
    if isinstance(obj, np.ndarray) or hasattr(obj, "__cuda_array_interface__"):
        return as_tensor(obj)
    try:
        memoryview(obj)
    except TypeError:
        return None
    return None if isinstance(obj, np.generic) else frombuffer(obj, dtype=dtype or dtypes.get_default_dtype())
