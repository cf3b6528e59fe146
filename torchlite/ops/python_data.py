"""Numbers, nested sequences of them, arrays and tensors as one array."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from torchlite import backends, dtypes
from torchlite._tensor import Tensor
from torchlite.ops.exchange import with_tensor_strides
from torchlite.tracing import refuse

_OF_PYTHON = (bool, int, float, complex)


def array_of(data: Any, dtype: dtypes.dtype | None) -> Any:
    """``data`` as an array of ``dtype``, or of the dtype that PyTorch finds for it; of an array it may be the memory itself.

    Raises:
        ValueError: for sequences of unequal length, and integers of more than 64 bits.
        TypeError: for data that is not numeric, and complex numbers where real ones are wanted.
        RuntimeError: for numbers that an integer dtype can't hold.
    """
    wanted = None if dtype is None else dtype.numpy
    if isinstance(data, Tensor):
        return data._data if wanted is None else data._data.astype(wanted)
    if type(data).__module__.partition(".")[0] == "cupy":
        return data if wanted is None else data.astype(wanted, copy=False)
    if isinstance(data, np.ndarray):
        refuse("an array of NumPy becomes a tensor")
        with_tensor_strides(data)
    elif isinstance(data, np.generic):
        data = _fitting(np.asarray(data), wanted)
    else:
        data, wanted = _of_sequence(data, wanted)
        data = _fitting(data, wanted)
    if wanted is not None:
        with np.errstate(all="ignore"):
            data = data.astype(wanted, copy=False)
    dtypes.of(data.dtype)
    return data


def _of_sequence(data: Any, wanted: Any) -> tuple[Any, Any]:
    """An array of what a sequence holds (or of one number), and the dtype that it is to have."""
    found: set[Any] = set()
    if isinstance(data, (list, tuple)):
        _look(data, found)
    with_dtypes = [d for d in found if isinstance(d, dtypes.dtype)]
    if with_dtypes:
        of_numbers = [dtypes.of_scalar(kind()) for kind in _OF_PYTHON if kind in found]
        promoted = wanted or functools.reduce(dtypes.promote_types, [*with_dtypes, *of_numbers]).numpy
        return (_stacked(data, promoted) if Tensor in found else _of_numpy(data)), promoted
    array = _of_numpy(data)
    if array.dtype.kind == "O":
        if not {*map(type, array.flat)} <= {*_OF_PYTHON}:
            raise RuntimeError(f"Could not infer dtype of {type(array.flat[0]).__name__}")
        if wanted is None or wanted.kind not in "fVc":  # integers of more than 64 bits
            raise ValueError("Overflow when unpacking long long")
    if array.dtype.kind == "c" and wanted is not None and wanted.kind in "fViu":
        raise TypeError("must be real number, not complex")
    return array, wanted or _dtype_of_python(array)


def _look(data: Any, found: set[Any]) -> None:
    """Add to ``found`` the dtypes of what has one, the types of other numbers, and Tensor for those that NumPy can't join."""
    for kind in {*map(type, data)}:
        if kind in _OF_PYTHON:
            found.add(kind)
        elif issubclass(kind, (list, tuple)):
            for part in data:
                if type(part) is kind:
                    _look(part, found)
        elif issubclass(kind, (Tensor, np.ndarray, np.generic)):
            of_parts: set[Any] = {part.dtype for part in data if type(part) is kind}
            found |= of_parts if issubclass(kind, Tensor) else {*map(dtypes.of, of_parts)}
            if issubclass(kind, Tensor) or dtypes.bfloat16 in found:
                found.add(Tensor)


def _stacked(data: Any, dtype: np.dtype[Any]) -> Any:
    """Nested sequences, some of tensors, as an array; a tensor of one element is a number in it."""
    if isinstance(data, (list, tuple)):
        parts = [_stacked(part, dtype) for part in data]
        if len({part.shape for part in parts}) > 1:
            raise ValueError(f"expected sequences of equal length at every level, got {[p.shape for p in parts]}")
        return np.stack(parts) if parts else np.empty(0, dtype)
    array = backends.to_numpy(data.detach()._data) if isinstance(data, Tensor) else np.asarray(data)
    with np.errstate(all="ignore"):
        array = _fitting(array, dtype).astype(dtype, copy=False)
    return array.reshape(()) if isinstance(data, Tensor) and array.size == 1 else array


def _of_numpy(data: Any) -> Any:
    try:
        return np.asarray(data)
    except ValueError as error:
        raise ValueError(f"expected sequences of equal length at every level: {error}") from None


def _fitting(array: Any, dtype: Any) -> Any:
    """``array``, once it is known that it can be converted: what an integer dtype can't hold would come out as anything.

    Negative integers wrap around in unsigned dtypes, as in PyTorch.
    """
    if dtype is None or not array.size:
        return array
    if dtype.kind in "iu" and array.dtype.kind in "iufV" and array.dtype != dtype:
        limits = np.iinfo(dtype)
        least = -limits.max if not limits.min and array.dtype.kind in "iu" else limits.min
        if not (least <= array.min().item() and array.max().item() <= limits.max):
            raise RuntimeError(f"value cannot be converted to type {dtype} without overflow")
    return array


def _dtype_of_python(array: np.ndarray[Any, Any]) -> Any:
    if array.size == 0 or array.dtype.kind == "f":
        return dtypes.get_default_dtype().numpy
    if array.dtype.kind == "c":
        return dtypes.of_scalar(1j).numpy
    if array.dtype.kind == "u":
        raise ValueError("Overflow when unpacking long long")
    return dtypes.int64.numpy if array.dtype.kind == "i" else None
