"""PyTorch's first way of naming dtypes: one type of tensor for each, such as ``FloatTensor``.

They make tensors (``LongTensor([1, 2])``, ``FloatTensor(2, 3)``), test them (``isinstance(x, FloatTensor)``) and name
what `Tensor.type` converts to. Prefer ``torchlite.tensor(..., dtype=...)``.

>>> import torchlite as torch
>>> torch.LongTensor([1, 2]), isinstance(torch.ones(2), torch.FloatTensor), torch.ones(2).type()
(tensor([1, 2]), True, 'torch.FloatTensor')
"""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite import dtypes
from torchlite._tensor import Tensor, method
from torchlite.devices import CPU, Device
from torchlite.ops.conversion import to
from torchlite.ops.creation import empty, tensor


class TensorType(type):
    """The type of the types: its instances are called and asked, but nothing is an instance of them by birth."""

    dtype: dtypes.dtype

    def __call__(cls, *args: Any, device: Any = None) -> Tensor:  # noqa: D102
        return _made(args, cls.dtype, CPU if device is None else Device(device))

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Tensor) and instance.dtype is cls.dtype and instance.device.type == "cpu"


def _tensor_type(name: str, dtype: dtypes.dtype) -> TensorType:
    doc = f"Tensors of dtype {dtype} in host memory."
    return TensorType(name, (), {"dtype": dtype, "__doc__": doc, "__module__": "torch"})


BFloat16Tensor = _tensor_type("BFloat16Tensor", dtypes.bfloat16)
BoolTensor = _tensor_type("BoolTensor", dtypes.bool_)
ByteTensor = _tensor_type("ByteTensor", dtypes.uint8)
CharTensor = _tensor_type("CharTensor", dtypes.int8)
DoubleTensor = _tensor_type("DoubleTensor", dtypes.float64)
FloatTensor = _tensor_type("FloatTensor", dtypes.float32)
HalfTensor = _tensor_type("HalfTensor", dtypes.float16)
IntTensor = _tensor_type("IntTensor", dtypes.int32)
LongTensor = _tensor_type("LongTensor", dtypes.int64)
ShortTensor = _tensor_type("ShortTensor", dtypes.int16)

_NAMES = {
    kind.dtype: kind.__name__
    for kind in (
        BFloat16Tensor, BoolTensor, ByteTensor, CharTensor, DoubleTensor, FloatTensor, HalfTensor, IntTensor,
        LongTensor, ShortTensor,
    )
} | {dtypes.complex64: "ComplexFloatTensor", dtypes.complex128: "ComplexDoubleTensor"}  # fmt: skip
_DTYPES = {name: dtype for dtype, name in _NAMES.items()}


def _made(args: tuple[Any, ...], dtype: dtypes.dtype, device: Device) -> Tensor:
    """What the call of a type means: a shape, a sequence of numbers, or a tensor of that type."""
    if not args:
        return empty(0, dtype=dtype, device=device)
    first = args[0]
    if isinstance(first, Tensor):
        if first.dtype is not dtype or first.device != device:
            raise TypeError(f"expected a tensor of {dtype} on {device}, got one of {first.dtype} on {first.device}")
        return first.detach()
    if all(isinstance(n, (int, np.integer)) for n in args) or hasattr(first, "numel"):
        return empty(*args, dtype=dtype, device=device)
    if not isinstance(first, (list, tuple, range, np.ndarray)):
        raise TypeError(f"new(): data must be a sequence (got {type(first).__name__})")
    return tensor(first, dtype=dtype, device=device)


@method()
def new(self: Tensor, *args: Any, device: Any = None) -> Tensor:
    """A tensor of this dtype and device, of a shape or with given numbers; prefer ``new_empty`` and ``new_tensor``."""
    return _made(args, self.dtype, self.device if device is None else Device(device))


@method("type")
def type_(self: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:  # noqa: ARG001 - PyTorch's signature
    """The name of the tensor's type, or the tensor converted to ``dtype``: a dtype, a tensor type or its name.

    Raises:
        ValueError: for a name that is none.
    """
    place = "torch.cuda." if self.is_cuda else "torch."
    if dtype is None:
        return f"{place}{_NAMES[self.dtype]}"
    if isinstance(dtype, TensorType):
        return to(self, "cpu", dtype.dtype)
    if not isinstance(dtype, str):
        return to(self, dtype)
    place, _, name = dtype.rpartition(".")
    if name not in _DTYPES or place not in ("torch", "torch.cuda"):
        raise ValueError(f"invalid type: '{dtype}'")
    return to(self, "cuda" if place == "torch.cuda" else "cpu", _DTYPES[name])


def set_default_tensor_type(t: Any) -> None:
    """Make the dtype of a floating-point tensor type (or of its name) the default; see `set_default_dtype`.

    Raises:
        TypeError: for a type that is not of floating-point numbers.
    """
    dtype = _DTYPES.get(t.rpartition(".")[2]) if isinstance(t, str) else getattr(t, "dtype", None)
    if not isinstance(dtype, dtypes.dtype):
        raise TypeError(f"invalid type object: {t!r} is no tensor type")
    dtypes.set_default_dtype(dtype)
