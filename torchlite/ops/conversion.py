"""The same numbers as another dtype, on another device, or in memory of their own."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite import backends, dtypes
from torchlite._tensor import Tensor, method, wrap
from torchlite.autograd.grad_mode import grad_mode
from torchlite.devices import Device
from torchlite.dispatch import apply
from torchlite.ir import Aval, Op, Sample, register
from torchlite.layouts import contiguous_format, memory_format, preserve_format
from torchlite.ops.half_precision import BFLOAT16, cast

_QUIET = (BFLOAT16, np.dtype(np.float32))  # between these only a signalling NaN warns, which `apply` bears with


def _run_cast(xp: Any, x: Any, *, dtype: Any) -> Any:
    if x.dtype in _QUIET and dtype in _QUIET:
        return cast(xp, x, dtype=dtype)
    if x.dtype.kind == "c" and np.dtype(dtype).kind != "c":
        x = x.real
    with np.errstate(invalid="ignore", over="ignore"):
        return cast(xp, x, dtype=dtype)


_cast = register(
    Op(
        "cast",
        "elementwise",
        run=_run_cast,
        infer=lambda x, *, dtype: Aval(x.shape, np.dtype(dtype), x.device),
        vjp=(lambda g, _out, _x, dtype: g,),  # noqa: ARG005 - backward converts to the dtype of the input everywhere
        onnx="Cast",
        samples=lambda rng: [
            Sample((rng.normal(size=(3, 2)),), {"dtype": np.dtype(np.float64)}),
            Sample((rng.normal(size=(3, 2)) * 4,), {"dtype": np.dtype(np.int64)}),
            Sample((rng.normal(size=()),), {"dtype": np.dtype(bool)}),
        ],
        doc="x converted to another dtype; fractions are cut off towards zero.",
    )
)
_clone = register(
    Op(
        "clone",
        "copy",
        run=lambda xp, x, *, order: _run_clone(x, order),  # noqa: ARG005
        infer=lambda x, *, order: x,  # noqa: ARG005
        vjp=(lambda g, _out, _x, order: g,),  # noqa: ARG005
        onnx="Identity",
        samples=lambda rng: [
            Sample((rng.normal(size=(3, 2)),), {"order": None}),
            Sample((rng.normal(size=()),), {"order": ()}),
            Sample((rng.normal(size=(2, 3, 4)),), {"order": (1, 2, 0)}),
        ],
        doc="The same elements in memory of their own, in row-major order or that of the dimensions that ``order`` lists, the "
        "slowest first; as they lie in x where it is None.",
    )
)

_AS_IT_LIES: dict[str, Any] = {"order": None}


def _run_clone(x: Any, order: tuple[int, ...] | None) -> Any:
    if order is None:  # the order that x has, except where it was expanded and so has none
        return x.copy() if x.flags.c_contiguous or 0 in x.strides else x.copy(order="K")
    if not order:
        return x.copy()
    back = sorted(range(len(order)), key=order.__getitem__)
    return x.transpose(order).copy(order="C").transpose(back)


@method()
def clone(input: Tensor, *, memory_format: memory_format = preserve_format) -> Tensor:
    """A copy in memory of its own, through which gradients flow; its dimensions lie in memory as those of ``input`` do.

    Raises:
        RuntimeError: for a memory format of another number of dimensions.
    """
    if memory_format is preserve_format:
        return apply(_clone, (input,), _AS_IT_LIES)
    return apply(_clone, (input,), {"order": memory_format.order_of(input.ndim)})


@method()
def contiguous(self: Tensor, memory_format: memory_format = contiguous_format) -> Tensor:
    """The tensor itself where its elements lie without gaps in the order of the format, a copy that does otherwise.

    Raises:
        RuntimeError: for ``preserve_format``, which asks for nothing, and a format of another number of dimensions.
    """
    if self.is_contiguous(memory_format=memory_format):
        return self
    if memory_format is preserve_format:
        raise RuntimeError("preserve memory format is unsupported by the contiguous operator")
    return clone(self, memory_format=memory_format)


@method()
def to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """The tensor as another dtype and on another device: ``to(dtype)``, ``to(device)``, ``to(device, dtype)``, ``to(other)``.

    The tensor itself is returned where nothing changes, unless ``copy=True``.

    Raises:
        DeviceError: when the device is not available here.
        TypeError: for anything else than a dtype, a device or a tensor.
    """
    if not kwargs and len(args) == 1 and type(args[0]) is dtypes.dtype:  # nearly always
        return _as_dtype(self, args[0])
    dtype, device, copy, order = _target(args, dict(kwargs))
    out = self
    if device is not None:
        resolved = backends.resolve(device)
        if resolved != self.device:
            out = _moved(out, resolved)
    if dtype is not None:
        out = _as_dtype(out, dtype)
    if order is not preserve_format:
        out = contiguous(out, order)
    return clone(out) if copy and out is self else out


def _as_dtype(x: Tensor, dtype: dtypes.dtype) -> Tensor:
    target = dtype.numpy
    if x._data.dtype == target:
        return x
    if target.kind not in "biu":
        converted: Tensor = apply(_cast, (x,), {"dtype": target})
        return converted
    mode, grad_mode.enabled = grad_mode.enabled, False  # integers have no gradient
    try:
        return apply(_cast, (x,), {"dtype": target})
    finally:
        grad_mode.enabled = mode


def _target(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[dtypes.dtype | None, Device | None, bool, memory_format]:
    dtype, device, copy = (
        kwargs.pop("dtype", None),
        kwargs.pop("device", None),
        bool(kwargs.pop("copy", False)),
    )
    kwargs.pop("non_blocking", None)
    order = kwargs.pop("memory_format", None) or preserve_format
    if kwargs:
        raise TypeError(f"to() got an unexpected keyword argument '{next(iter(kwargs))}'")
    for arg in args:
        if isinstance(arg, dtypes.dtype):
            dtype = arg
        elif isinstance(arg, (str, Device)):
            device = Device(arg)
        elif isinstance(arg, Tensor):
            dtype, device = arg.dtype, arg.device
        elif isinstance(arg, int) and not isinstance(arg, bool) and device is None:
            device = Device("cuda", arg)
        elif not isinstance(arg, bool) and arg is not None:
            raise TypeError(f"to() expects a dtype, a device or a tensor, got {type(arg).__name__} {arg!r}")
    if dtype is not None and not isinstance(dtype, dtypes.dtype):
        raise TypeError(f"to(): dtype must be a torchlite dtype such as torchlite.float32, got {dtype!r}")
    return dtype, None if device is None else Device(device), copy, order


_move = register(
    Op(
        "to_device",
        "copy",
        run=lambda xp, x, *, device: backends.to_device(x, device),  # noqa: ARG005
        infer=lambda x, *, device: x._replace(device=device),
        vjp=(lambda g, _out, _x, device: g.to(device),),
        doc="x copied to another device.",
    )
)


def _moved(x: Tensor, device: Device) -> Tensor:
    if x.is_meta or device.type == "meta":
        return wrap(backends.to_device(x._data, device))
    source = x.device
    op_params = {"device": device}
    out: Tensor = apply(_move, (x,), op_params)
    if out._node is not None:
        out._node.params = {"device": source}
    return out


@method()
def cpu(self: Tensor) -> Tensor:
    """The tensor in host memory."""
    return to(self, "cpu")


@method()
def cuda(self: Tensor, device: Any = None, non_blocking: bool = False) -> Tensor:  # noqa: ARG001 - PyTorch's signature
    """The tensor on a GPU (the current one when ``device`` is not given)."""
    return to(self, "cuda" if device is None else device)


@method()
def type_as(self: Tensor, other: Tensor) -> Tensor:
    """The tensor as the dtype of ``other``."""
    return to(self, other.dtype)


def _shorthand(name: str, dtype: dtypes.dtype) -> None:
    def convert(self: Tensor, memory_format: memory_format = preserve_format) -> Tensor:
        converted = _as_dtype(self, dtype)
        return converted if memory_format is preserve_format else contiguous(converted, memory_format)

    convert.__name__ = name
    convert.__doc__ = f"The tensor as {dtype.name}."
    method(name)(convert)


for _name, _dtype in {
    "float": dtypes.float32,
    "double": dtypes.float64,
    "half": dtypes.float16,
    "bfloat16": dtypes.bfloat16,
    "int": dtypes.int32,
    "long": dtypes.int64,
    "short": dtypes.int16,
    "char": dtypes.int8,
    "byte": dtypes.uint8,
    "bool": dtypes.bool_,
    "cfloat": dtypes.complex64,
    "cdouble": dtypes.complex128,
}.items():
    _shorthand(_name, _dtype)
