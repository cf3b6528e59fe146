"""New tensors from Python data, arrays, shapes and ranges."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from torchlite import backends, dtypes
from torchlite._tensor import Tensor, method, wrap
from torchlite.backends.memory import dense_strides, memory, rooted, span, strided
from torchlite.backends.native.lines import at_lines
from torchlite.devices import Device, get_default_device
from torchlite.integers import takes_integers
from torchlite.ir import Aval
from torchlite.layouts import preserve_format
from torchlite.layouts import strided as strided_layout
from torchlite.ops.construct import constant
from torchlite.ops.destination import OutDtype, takes_out_as
from torchlite.ops.later_numbers import dtype_of_later, is_later, stacked_later
from torchlite.ops.python_data import array_of

F = TypeVar("F", bound=Callable[..., Tensor])
_OF_PYTHON = int, float, complex, np.generic
"""Numbers that are known; a function that is traced has others, too."""
_ABOUT_MEMORY = {"layout", "pin_memory", "memory_format"}


def takes_memory(function: F) -> F:
    """Give a function that makes a tensor PyTorch's keywords ``layout``, ``pin_memory`` and ``memory_format``.

    Raises:
        RuntimeError: for another layout than ``strided``.
    """

    @functools.wraps(function)
    def make(*args: Any, **kwargs: Any) -> Tensor:
        if _ABOUT_MEMORY.isdisjoint(kwargs):
            return function(*args, **kwargs)
        layout, order = kwargs.pop("layout", None), kwargs.pop("memory_format", None)
        if layout not in (None, strided_layout):
            raise RuntimeError(
                f"{function.__name__}: tensors are dense here, their layout is torchlite.strided; got {layout}"
            )
        pinned, leaf = kwargs.pop("pin_memory", False), kwargs.pop("requires_grad", False)
        result = function(*args, **kwargs)
        if order not in (None, preserve_format):
            result = result.contiguous(memory_format=order)
        if pinned:
            result = result.pin_memory()
        return result.requires_grad_() if leaf else result

    return make  # type: ignore[return-value]


@takes_memory
def tensor(data: Any, *, dtype: dtypes.dtype | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A new tensor with a copy of ``data`` (numbers, nested sequences, arrays or tensors).

    Python floats become the default dtype, integers int64, as in PyTorch; arrays keep their dtype.

    Raises:
        ValueError: for sequences of unequal length.
        TypeError: for data that is not numeric.
    """
    if is_later(data):
        later: Tensor | None = constant(data, (dtype or dtype_of_later(data)).numpy).to(_target(device))
    else:
        later = stacked_later(data, dtype, _target(device))
    if later is not None:
        return later.requires_grad_() if requires_grad else later
    array = array_of(data, dtype)
    if array is data or isinstance(data, (np.ndarray, Tensor)):
        array = array.copy()
    return _placed(array, device if device is not None else _device_of(data), requires_grad)


def as_tensor(data: Any, dtype: dtypes.dtype | None = None, device: Any = None) -> Tensor:
    """``data`` as a tensor, sharing memory with an array and returning a tensor as it is where nothing changes."""
    if isinstance(data, Tensor):
        return data.to(**{k: v for k, v in (("dtype", dtype), ("device", device)) if v is not None})
    later = stacked_later(data, dtype, _target(device))
    if later is not None:
        return later
    array = array_of(data, dtype)
    return _placed(rooted(array) if array is data else array, device, False)


def _device_of(data: Any) -> Device | None:
    if isinstance(data, Tensor):
        return data.device
    return Device("cuda", data.device.id) if type(data).__module__.partition(".")[0] == "cupy" else None


def _target(device: Any) -> Device:
    return backends.resolve(get_default_device() if device is None else Device(device))


def _placed(array: Any, device: Any, requires_grad: bool) -> Tensor:
    result: Tensor = wrap(backends.to_device(array, _target(device)))
    return result.requires_grad_() if requires_grad else result


def _lengths(size: tuple[Any, ...]) -> tuple[int, ...]:
    if len(size) == 1 and not isinstance(size[0], (int, np.integer, Tensor)):
        size = tuple(size[0])
    lengths = tuple(int(n) for n in size)
    if any(n < 0 for n in lengths):
        raise RuntimeError(f"Trying to create tensor with negative dimension: {list(lengths)}")
    return lengths


def _filled(
    size: Any, value: Any, dtype: dtypes.dtype | None, device: Any, requires_grad: bool, like: Tensor | None = None
) -> Tensor:
    """A tensor full of ``value`` (of anything for None), whose dimensions follow each other as those of ``like`` do."""
    target = _target(device)
    shape, kind = _lengths(size), (dtype or dtypes.get_default_dtype()).numpy
    if isinstance(value, complex) and kind.kind != "c":
        raise RuntimeError(f"value {value} cannot be converted to type {kind} without overflow")
    if target.type == "meta":
        result: Tensor = wrap(Aval(shape, kind, target))
    elif value is not None and not isinstance(value, _OF_PYTHON):
        result = constant(value, kind).to(target).expand(shape).clone()
    else:
        xp = backends.module_for(target)
        with _on(target, math.prod(shape) * kind.itemsize):
            if like is not None and like.device == target and _has_an_order(like._data):
                array = xp.empty_like(like._data, kind, order="K")
                if value is not None:
                    array.fill(value)
            else:
                array = xp.empty(shape, kind) if value is None else xp.full(shape, value, kind)
            result = wrap(backends.signed(array, value))
    return result.requires_grad_() if requires_grad else result


def _has_an_order(array: Any) -> bool:
    """Whether the dimensions lie in memory in another order than row-major."""
    return not isinstance(array, Aval) and not array.flags.c_contiguous and 0 not in array.strides


def _on(device: Device, size: int) -> Any:
    return backends.cupy().cuda.Device(device.index) if device.type == "cuda" else at_lines(size)


@takes_out_as(OutDtype.CREATE)
@takes_memory
def zeros(*size: Any, dtype: dtypes.dtype | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of shape ``size`` filled with 0."""
    return _filled(size, 0, dtype, device, requires_grad)


@takes_out_as(OutDtype.CREATE)
@takes_memory
def ones(*size: Any, dtype: dtypes.dtype | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of shape ``size`` filled with 1."""
    return _filled(size, 1, dtype, device, requires_grad)


@takes_out_as(OutDtype.CREATE)
@takes_memory
def empty(*size: Any, dtype: dtypes.dtype | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of shape ``size`` with whatever is in memory."""
    return _filled(size, None, dtype, device, requires_grad)


@takes_memory
def empty_strided(
    size: Sequence[int],
    stride: Sequence[int],
    *,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of shape ``size`` with whatever is in memory, where neighbours lie ``stride`` elements apart.

    Raises:
        RuntimeError: for another number of strides than sizes, and negative ones.
    """
    shape, strides = _lengths((size,)), tuple(int(s) for s in stride)
    if len(shape) != len(strides):
        raise RuntimeError(
            f"empty_strided: dimensionality of sizes ({len(shape)}) must match dimensionality of strides ({len(strides)})"
        )
    if min(strides, default=0) < 0:
        raise RuntimeError(f"empty_strided: strides must not be negative, got {list(strides)}")
    room = _filled((span(shape, strides),), None, dtype, device, False)
    data = room._data
    if isinstance(data, Aval):
        result: Tensor = wrap(data._replace(shape=shape))
    else:
        result = wrap(strided(memory(data), data.dtype, shape, (strides, 0)))
    return result.requires_grad_() if requires_grad else result


@takes_memory
@takes_integers
def empty_permuted(
    size: Sequence[int],
    physical_layout: Sequence[int],
    *,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of shape ``size`` whose dimensions lie in memory in the order ``physical_layout``, the slowest first.

    Raises:
        RuntimeError: when that does not name each dimension once.
    """
    if sorted(physical_layout) != [d for d, _ in enumerate(size)]:
        raise RuntimeError(
            "empty_permuted: Number of dimensions in size does not match the length of the physical_layout, or it names one "
            f"twice or out of range: got {list(physical_layout)} for {list(size)}"
        )
    strides = dense_strides(tuple(size), physical_layout)
    return empty_strided(size, strides, dtype=dtype, device=device, requires_grad=requires_grad)


@takes_out_as(OutDtype.CREATE)
@takes_memory
def full(
    size: Sequence[int],
    fill_value: Any,
    *,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of shape ``size`` filled with ``fill_value``, whose type decides the dtype where none is given."""
    value = fill_value.item() if isinstance(fill_value, Tensor) else fill_value
    return _filled((size,), value, dtype or dtypes.of_scalar(value), device, requires_grad)


@takes_memory
def zeros_like(
    input: Tensor, *, dtype: dtypes.dtype | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Zeros of the shape, dtype and device of ``input``."""
    return _filled(input.shape, 0, dtype or input.dtype, device or input.device, requires_grad, input)


@takes_memory
def ones_like(
    input: Tensor, *, dtype: dtypes.dtype | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Ones of the shape, dtype and device of ``input``."""
    return _filled(input.shape, 1, dtype or input.dtype, device or input.device, requires_grad, input)


@takes_memory
def empty_like(
    input: Tensor, *, dtype: dtypes.dtype | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """An uninitialised tensor of the shape, dtype and device of ``input``."""
    return _filled(input.shape, None, dtype or input.dtype, device or input.device, requires_grad, input)


@takes_memory
def full_like(
    input: Tensor,
    fill_value: Any,
    *,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """``fill_value`` in the shape, dtype and device of ``input``."""
    return _filled(input.shape, fill_value, dtype or input.dtype, device or input.device, requires_grad, input)


def _range_dtype(values: Sequence[Any]) -> dtypes.dtype:
    return dtypes.get_default_dtype() if any(isinstance(v, float) for v in values) else dtypes.int64


@takes_out_as(OutDtype.CREATE)
@takes_memory
def arange(
    start: Any,
    end: Any = None,
    step: Any = 1,
    *,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """start, start + step, … below ``end``; ``arange(n)`` counts from 0.

    Raises:
        RuntimeError: when the step is 0 or leads away from ``end``.
    """
    if end is None:
        start, end = 0, start
    start, end, step = (v.item() if isinstance(v, (Tensor, np.generic)) else v for v in (start, end, step))
    if dtype is dtypes.bool_:
        raise RuntimeError("arange is not implemented for torch.bool")
    if not all(math.isfinite(v) for v in (start, end)):
        raise RuntimeError(f"arange: unsupported range: {start} -> {end}")
    if dtype is not None and dtype.numpy.kind in "iu":
        if int(step) == 0 != step:
            raise ValueError(f"arange: step must be nonzero, but {step} is 0 as {dtype}")
        start, end, step = int(start), int(end), int(step)
    if step == 0:
        raise RuntimeError("arange: step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError(
            f"arange: upper bound and lower bound inconsistent with step sign: from {start} to {end} by {step}"
        )
    kind = (dtype or _range_dtype((start, end, step))).numpy
    n = math.ceil((end - start) / step)
    array = np.arange(n) * step + start
    return _placed(array.astype(kind), device, requires_grad)


@takes_out_as(OutDtype.CREATE)
@takes_memory
def range(
    start: Any,
    end: Any,
    step: Any = 1,
    *,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """``start``, ``start`` + ``step``, … up to and including ``end``; deprecated: `arange` counts as Python does.

    Raises:
        RuntimeError: when the step is 0 or leads away from ``end``.
    """
    warnings.warn(
        "torch.range is deprecated and will be removed in a future release because its behavior is inconsistent with "
        "Python's range builtin. Instead, use torch.arange, which produces values in [start, end).",
        UserWarning,
        stacklevel=3,
    )
    kind = dtypes.get_default_dtype() if dtype is None else dtype
    if step == 0:
        raise RuntimeError("range: step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError("range: upper bound and lower bound inconsistent with step sign")
    numbers = np.arange(math.floor((end - start) / step) + 1) * step + start
    return _placed(numbers.astype(kind.numpy), device, requires_grad)


@takes_out_as(OutDtype.CREATE)
@takes_memory
def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """``steps`` evenly spaced numbers from ``start`` to ``end`` (numbers or 0-d tensors), both included."""
    kind = _spacing_dtype((start, end), dtype)
    return _placed(_evenly_spaced("linspace", start, end, steps, kind).astype(kind), device, requires_grad)


@takes_out_as(OutDtype.CREATE)
@takes_memory
def logspace(
    start: Any,
    end: Any,
    steps: int,
    base: float = 10.0,
    *,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """``steps`` powers of ``base`` whose exponents are evenly spaced from ``start`` to ``end``, both included."""
    kind = _spacing_dtype((start, end), dtype)
    with np.errstate(all="ignore"):
        array = np.power(float(base), _evenly_spaced("logspace", start, end, steps, kind)).astype(kind)
    return _placed(array, device, requires_grad)


def _spacing_dtype(ends: tuple[Any, Any], dtype: dtypes.dtype | None) -> np.dtype[Any]:
    if dtype is not None:
        return dtype.numpy
    whole = any(isinstance(v.item() if isinstance(v, Tensor) else v, complex) for v in ends)
    return dtypes.of_scalar(1j if whole else 1.0).numpy


@takes_integers
def _evenly_spaced(name: str, start: Any, end: Any, steps: int, kind: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """The numbers in float64 (or complex128), counted from both ends, so that they are symmetric as PyTorch's are."""
    if not isinstance(steps, (int, np.integer)):
        raise TypeError(f"{name}(): argument 'steps' must be int, not {type(steps).__name__}")
    if steps < 0:
        raise RuntimeError(f"{name}: number of steps must be non-negative, got {steps}")
    for value in (start, end):
        if isinstance(value, Tensor) and value.ndim:
            raise RuntimeError(f"{name}: start and end must be numbers or 0-d tensors, got shape {list(value.shape)}")
    if kind.kind == "b":
        raise RuntimeError(f"{name} is not implemented for torch.bool")
    wide = np.complex128 if kind.kind == "c" else np.float64
    first, last = (v.item() if isinstance(v, Tensor) else v for v in (start, end))
    if kind.kind in "iu":
        first, last = int(first), int(last)
    if steps == 1:
        return np.array([first], wide)
    step = (last - first) / (steps - 1) if steps else 0.0
    i = np.arange(steps)
    return np.where(i < steps // 2, first + step * i, last - step * (steps - 1 - i)).astype(wide)


@takes_memory
def scalar_tensor(
    s: Any, *, dtype: dtypes.dtype | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A number as a 0-d tensor of the default dtype or ``dtype``."""
    return _filled(((),), s, dtype, device, requires_grad)


@takes_out_as(OutDtype.CREATE)
@takes_memory
def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """An n×m matrix (n×n by default) with ones on the diagonal."""
    for name, length in (("n", n), ("m", m)):
        if length is not None and length < 0:
            raise RuntimeError(f"eye: {name} must be greater or equal to 0, got {length}")
    return _placed(np.eye(n, m, dtype=(dtype or dtypes.get_default_dtype()).numpy), device, requires_grad)


@method()
@takes_memory
def new_tensor(
    self: Tensor, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A copy of ``data`` in the dtype and on the device of this tensor."""
    return tensor(data, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad)


@method()
@takes_memory
def new_zeros(self: Tensor, *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros of shape ``size`` in the dtype and on the device of this tensor."""
    return _filled(size, 0, dtype or self.dtype, device or self.device, requires_grad)


@method()
@takes_memory
def new_ones(self: Tensor, *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones of shape ``size`` in the dtype and on the device of this tensor."""
    return _filled(size, 1, dtype or self.dtype, device or self.device, requires_grad)


@method()
@takes_memory
def new_empty(self: Tensor, *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """An uninitialised tensor of shape ``size`` in the dtype and on the device of this tensor."""
    return _filled(size, None, dtype or self.dtype, device or self.device, requires_grad)


@method()
@takes_memory
def new_empty_strided(
    self: Tensor, size: Any, stride: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """`empty_strided` in the dtype and on the device of this tensor."""
    return empty_strided(
        size, stride, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad
    )


@method()
@takes_memory
def new_full(
    self: Tensor,
    size: Any,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """``fill_value`` in shape ``size``, in the dtype and on the device of this tensor."""
    return _filled((size,), fill_value, dtype or self.dtype, device or self.device, requires_grad)
