"""``out=``: the results of a function written into tensors that the caller already has."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from torchlite import backends, dtypes
from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import grad_mode, no_grad
from torchlite.ir import Aval
from torchlite.ops.mutation import assign

F = TypeVar("F", bound=Callable[..., Any])


def takes_out(function: F) -> F:
    """Give ``function`` the keyword ``out``: a tensor, or as many as it has results, that its results are stored in.

    They are resized to the results' shapes, and are what the call returns. Put it above ``@method()``: PyTorch's
    methods have no ``out``.

    Raises:
        RuntimeError: when a gradient is wanted, or a result's dtype or device is not that of its ``out``.
    """

    @functools.wraps(function)
    def with_out(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        if out is None:
            return function(*args, **kwargs)
        return stored(function.__name__, function, args, kwargs, out)

    return with_out  # type: ignore[return-value]


def stored(name: str, function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], out: Any) -> Any:
    """``out``, after ``function(*args, **kwargs)`` has been stored in it; ``name`` is for errors."""
    targets = (out,) if isinstance(out, Tensor) else tuple(out)
    for target in targets:
        if not isinstance(target, Tensor):
            raise TypeError(
                f"{name}(): argument 'out' must be a Tensor or a tuple of them, not {type(target).__name__}"
            )
    if grad_mode.enabled:
        _refuse_history(name, (targets, args, kwargs))
    with no_grad():
        results = function(*args, **kwargs)
        if isinstance(results, Tensor):
            results = (results,)
        if len(results) != len(targets):
            raise TypeError(f"{name}(): expected a tuple of {len(results)} tensors for 'out', got {len(targets)}")
        for target, result in zip(targets, results, strict=True):
            _store(name, target, result)
    # PyTorch returns its named tuple of the given tensors.
    return out if isinstance(out, Tensor) else _like(results, targets)


def _like(results: Any, targets: tuple[Tensor, ...]) -> Any:
    kind = type(results)
    return kind(*targets) if hasattr(kind, "_fields") else kind(targets)


def _refuse_history(name: str, values: Any) -> None:
    if isinstance(values, Tensor):
        if values._node is not None:
            raise RuntimeError(
                f"{name}(): functions with out=... arguments don't support automatic differentiation, but one of the "
                "arguments requires grad."
            )
    elif isinstance(values, dict):
        _refuse_history(name, tuple(values.values()))
    elif isinstance(values, list | tuple):
        for value in values:
            _refuse_history(name, value)


def _store(name: str, target: Tensor, result: Tensor) -> None:
    if target.device != result.device:
        raise RuntimeError(
            f"{name}(): expected out tensor to be on {result.device}, the device of the result, but got {target.device}"
        )
    if not dtypes.can_cast(result.dtype, target.dtype):
        raise RuntimeError(
            f"{name}(): result type {result.dtype.name} can't be cast to the desired output type {target.dtype.name}"
        )
    if target._data.shape != result._data.shape:
        if target.numel():
            warnings.warn(
                f"An output with one or more elements was resized since it had shape {list(target.shape)}, which does "
                f"not match the required output shape {list(result.shape)}; pass an empty tensor, such as "
                "torchlite.empty(0), to have it resized without this warning.",
                UserWarning,
                stacklevel=4,
            )
        resize(target, tuple(result._data.shape))
    assign(target, result, computed=False)


def resize(x: Tensor, shape: tuple[int, ...]) -> None:
    """Give ``x`` another shape in place: the same memory where it is large enough, new memory otherwise."""
    data = x._data
    if isinstance(data, Aval):
        x._data = data._replace(shape=shape)
        return
    size = int(np.prod(shape, dtype=np.int64))
    flat = data.reshape(-1) if data.flags.c_contiguous else None
    if flat is not None and flat.size >= size:
        x._data = flat[:size].reshape(shape)
        return
    new = backends.array_module(data).empty(size, data.dtype)
    kept = min(size, data.size)
    new[:kept] = data.reshape(-1)[:kept]
    x._data = new.reshape(shape)
