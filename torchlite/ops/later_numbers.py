"""Sequences that hold numbers which only a replay of captured code knows: tensors, and numbers of them."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from numbers import Number
from typing import Any

import numpy as np

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.devices import Device
from torchlite.ops.construct import constant
from torchlite.ops.joining import stack
from torchlite.tracing import active

_KNOWN = int, float, complex, np.generic


def is_later(x: Any) -> bool:
    """Whether it is a number that is not known yet."""
    return active.tracer is not None and isinstance(x, Number) and not isinstance(x, _KNOWN)


def dtype_of_later(number: Any) -> dtypes.dtype:
    """That of a number that is not known yet."""
    return dtypes.float64 if number.kind is np.float64 else dtypes.of_scalar(number)


def stacked_later(data: Any, dtype: dtypes.dtype | None, device: Device) -> Tensor | None:
    """What is made of nested sequences while a function is traced, where operators can make it; None where they can't.

    Raises:
        ValueError: for sequences of unequal length.
    """
    if active.tracer is None or not isinstance(data, (list, tuple)):
        return None
    parts = list(_parts(data))
    later = any(isinstance(x, Tensor) or is_later(x) for x in parts)
    if not later or not all(isinstance(x, (Tensor, bool, int, float)) or is_later(x) for x in parts):
        return None
    found = [_dtype_of(x) for x in parts]
    wanted = dtype or functools.reduce(dtypes.promote_types, found)
    checked = dtypes.category(wanted) < 2 and any(d is not wanted for d in found)  # what does not fit is an error
    if checked or any(d.is_complex for d in found):
        return None
    return _stacked(data, wanted, device)


def _parts(data: Any) -> Iterator[Any]:
    for x in data:
        if isinstance(x, (list, tuple)):
            yield from _parts(x)
        else:
            yield x


def _dtype_of(x: Any) -> dtypes.dtype:
    return x.dtype if isinstance(x, Tensor) else dtype_of_later(x) if is_later(x) else dtypes.of_scalar(x)


def _stacked(data: Any, dtype: dtypes.dtype, device: Device) -> Tensor:
    if isinstance(data, Tensor):
        x = data.detach().to(device, dtype)
        return x.reshape(()) if x.numel() == 1 else x
    if not isinstance(data, (list, tuple)):
        return constant(data, dtype.numpy).to(device)
    parts = [_stacked(part, dtype, device) for part in data]
    if len({part.shape for part in parts}) > 1:
        raise ValueError(f"expected sequences of equal length at every level, got {[list(p.shape) for p in parts]}")
    return stack(parts) if parts else constant(0, dtype.numpy).to(device).expand(0)
