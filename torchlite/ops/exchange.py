"""Tensors and the rest of Python: NumPy arrays, DLPack, copies and pickles."""

from __future__ import annotations

import ctypes
from copy import deepcopy
from typing import Any

import numpy as np

from torchlite import backends, dtypes
from torchlite._tensor import Tensor, method, wrap
from torchlite.autograd.graph import Storage
from torchlite.backends.memory import address, layout, memory, rooted, strided
from torchlite.devices import CPU, Device
from torchlite.ir import Aval
from torchlite.tracing import refuse

NumpyArray = np.ndarray[Any, Any]
# What a tensor is made of; whatever else it carries a program has put there.
_OWN = {"_data", "_storage", "_node", "_base", "_recipe", "_grad"}


@method()
def numpy(self: Tensor, *, force: bool = False) -> NumpyArray:
    """The elements as a NumPy array that shares memory.

    Args:
        force: copy from a GPU and detach where needed instead of raising.

    Raises:
        RuntimeError: when the tensor requires a gradient.
        TypeError: when it is on a GPU.
    """
    if not force:
        if self._node is not None:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        if self.device != CPU:
            raise TypeError(
                f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host "
                "memory first."
            )
    return backends.to_numpy(self._data)


@method("__array__")
def _array(self: Tensor, dtype: Any = None, copy: bool | None = None) -> NumpyArray:
    array = self.numpy()
    if dtype is not None and np.dtype(dtype) != array.dtype:
        if copy is False:
            raise ValueError(f"a tensor of {self.dtype} can't be an array of {np.dtype(dtype)} without a copy")
        return array.astype(dtype)
    return array.copy() if copy else array


@method("__array_wrap__")
def _array_wrap(self: Tensor, array: NumpyArray, _context: Any = None, _return_scalar: bool = False) -> Tensor:  # noqa: ARG001
    """The result of a NumPy function of this tensor: a tensor; truth values become uint8, as in PyTorch."""
    return from_numpy(np.asarray(array.astype(np.uint8) if array.dtype == bool else array))


def from_numpy(ndarray: NumpyArray) -> Tensor:
    """A tensor that shares the memory of a NumPy array.

    Raises:
        TypeError: for anything but an array, and for dtypes that tensors don't have.
        ValueError: for strides that tensors don't have, and numbers in the other byte order.
    """
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"from_numpy: expected np.ndarray (got {type(ndarray).__name__}); use torchlite.tensor(...)")
    if not ndarray.dtype.isnative:
        raise ValueError(
            f"from_numpy: the array's dtype {ndarray.dtype} has not the byte order of this machine; use "
            ".astype(array.dtype.newbyteorder('='))"
        )
    dtypes.of(ndarray.dtype)
    refuse("an array of NumPy becomes a tensor")
    shared: Tensor = wrap(rooted(with_tensor_strides(ndarray)))
    return shared


def with_tensor_strides(array: NumpyArray) -> NumpyArray:
    """``array``, where its strides are whole numbers of elements and not negative, as those of tensors."""
    if not array.flags.c_contiguous:
        if min(array.strides) < 0:
            raise ValueError(
                f"at least one stride of the array is negative, and tensors with negative strides {array.strides} are not "
                "supported; use array.copy()"
            )
        if any(step % array.itemsize for step in array.strides):
            raise ValueError(
                f"strides {array.strides} of the array are not a multiple of the element size {array.itemsize} in bytes; "
                "use array.copy()"
            )
    return array


@method("__dlpack__")
def _dlpack(
    self: Tensor, *, stream: Any = None, max_version: Any = None, dl_device: Any = None, copy: bool | None = None
) -> Any:
    """The tensor as a DLPack capsule that shares memory."""
    if self._node is not None:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
    if isinstance(self._data, Aval):
        raise BufferError("Can't export a tensor on device 'meta': it has no data")
    array, halved = self._data, self.dtype is dtypes.bfloat16
    given = {"stream": stream, "max_version": max_version, "dl_device": dl_device, "copy": copy}
    if isinstance(array, np.ndarray) and stream == -1:  # PyTorch's word for "wait for nothing"
        given["stream"] = None
    capsule = (array.view(np.uint16) if halved else array).__dlpack__(
        **{name: value for name, value in given.items() if value is not None}
    )
    if halved:
        _set_dtype(capsule, _BFLOAT)
    return capsule


@method("__dlpack_device__")
def _dlpack_device(self: Tensor) -> tuple[int, int]:
    return self._data.__dlpack_device__()


def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor that shares the memory of any object with ``__dlpack__`` (NumPy, CuPy, PyTorch, JAX), or of a capsule.

    Args:
        ext_tensor: the object.
        device: where the result is to be; None for where the object is.
        copy: True for memory of its own, False to refuse where a copy is needed.

    Raises:
        BufferError: for ``copy=False`` where the device differs.
    """
    ours = _Imported(ext_tensor)
    array = np.from_dlpack(ours) if ours.on_host else backends.cupy().from_dlpack(ours)
    if ours.halved:
        array = array.view(dtypes.bfloat16.numpy)
    result: Tensor = wrap(array)
    if device is not None and backends.resolve(Device(device)) != result.device:
        if copy is False:
            raise BufferError(f"from_dlpack: copy=False, but {result.device} is not {device}")
        return result.to(device)
    return result.clone() if copy else result


class _Imported:
    """A DLPack exporter for NumPy and CuPy, which have no bfloat16: such numbers go by as 16-bit integers."""

    def __init__(self, source: Any) -> None:
        self.source = source
        is_capsule = not hasattr(source, "__dlpack__")
        self.device = (1, 0) if is_capsule else tuple(int(part) for part in source.__dlpack_device__())
        self.on_host = self.device[0] == 1
        self.capsule = source if is_capsule else None
        self.halved = False
        # Only a capsule tells the dtype; one is asked for here, unless that would hand an array to the wrong stream.
        if self.on_host:
            self.capsule = self.capsule or _exported(source)
            self.halved = _dtype(self.capsule).code == _BFLOAT
            if self.halved:
                _set_dtype(self.capsule, _UINT)

    def __dlpack_device__(self) -> Any:
        return self.device

    def __dlpack__(self, **kwargs: Any) -> Any:
        return self.source.__dlpack__(**kwargs) if self.capsule is None else self.capsule


def _exported(source: Any) -> Any:
    try:
        return source.__dlpack__(max_version=(1, 0))
    except TypeError:  # written before version 1
        return source.__dlpack__()


class _DataType(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16))


class _DLTensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32), ("dtype", _DataType),
    )  # fmt: skip


class _Versioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32), ("minor", ctypes.c_uint32), ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p), ("flags", ctypes.c_uint64), ("tensor", _DLTensor),
    )  # fmt: skip


_UINT, _BFLOAT = 1, 4  # DLDataTypeCode


def _dtype(capsule: Any) -> _DataType:
    """The dtype in the struct that a capsule holds."""
    api = ctypes.pythonapi
    api.PyCapsule_IsValid.argtypes = api.PyCapsule_GetPointer.argtypes = (ctypes.py_object, ctypes.c_char_p)
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    if api.PyCapsule_IsValid(capsule, b"dltensor_versioned"):
        versioned = _Versioned.from_address(api.PyCapsule_GetPointer(capsule, b"dltensor_versioned"))
        return versioned.tensor.dtype
    return _DLTensor.from_address(api.PyCapsule_GetPointer(capsule, b"dltensor")).dtype


def _set_dtype(capsule: Any, code: int) -> None:
    _dtype(capsule).code = code


@method("__deepcopy__")
def _deepcopy(self: Tensor, memo: dict[Any, Any]) -> Tensor:
    """A copy with its gradient and attributes; what shared memory before shares it after."""
    if not self.is_leaf:
        raise RuntimeError(
            "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment; "
            "use .detach().clone()"
        )
    if id(self) in memo:
        return memo[id(self)]
    data, storage = self._data, Storage()
    if not isinstance(data, Aval):
        # By allocation: it (to keep it there), its copy, in which the views of it find their places, and their storage.
        whole = memory(data)
        _, copied, storage = memo.setdefault(("memory", address(whole), whole.size), (whole, whole.copy(), storage))
        data = strided(copied, data.dtype, data.shape, layout(data))
    result: Tensor = wrap(data, cls=type(self))
    result._storage = storage
    memo[id(self)] = result
    result.requires_grad = self.requires_grad
    if self._grad is not None:
        result._grad = _deepcopy(self._grad, memo)
    vars(result).update({name: deepcopy(value, memo) for name, value in _attributes(self).items()})
    return result


@method("__reduce__")
def _reduce(self: Tensor) -> Any:
    """What pickle and copy keep: the numbers, where they are, whether they are trained, the program's attributes."""
    data = self._data if isinstance(self._data, Aval) else backends.to_numpy(self._data)
    return rebuild, (type(self), data, str(self.device), self.requires_grad), _attributes(self) or None


def rebuild(cls: type[Tensor], data: Any, device: str, requires_grad: bool) -> Tensor:
    """The tensor that `Tensor.__reduce__` describes."""
    if not isinstance(data, Aval):
        data = backends.to_device(data, backends.resolve(Device(device)))
    result: Tensor = wrap(data, cls=cls)
    return result.requires_grad_(requires_grad)


def _attributes(x: Tensor) -> dict[str, Any]:
    return {name: value for name, value in vars(x).items() if name not in _OWN}
