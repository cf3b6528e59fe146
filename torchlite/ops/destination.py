"""``out=``: the results of a function written into tensors that the caller already has."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, TypeVar

from torchlite import autocasting, backends, dtypes
from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import grad_mode, no_grad
from torchlite.ir import Aval
from torchlite.ops.mutation import assign, refuse_internal_overlap
from torchlite.ops.storage import resize

F = TypeVar("F", bound=Callable[..., Any])


class OutDtype(Enum):
    """What PyTorch makes of an ``out`` whose dtype is not that of the result; it depends on the function."""

    CAST = "the result is converted, unless its category would fall"
    JOINED = "as CAST, but where it would fall that is a TypeError"
    SAME = "an error"
    COMPUTE = "it is the function's argument dtype, where that is not given"
    CREATE = "it and the device are arguments of the function, where those are not given"


def takes_out_as(rule: OutDtype) -> Callable[[F], F]:
    """`takes_out` for a function that follows another rule about the dtype of ``out``."""

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def with_out(*args: Any, out: Any = None, **kwargs: Any) -> Any:
            if out is None:
                return function(*args, **kwargs)
            return stored(function.__name__, function, args, kwargs, out, rule)

        return with_out  # type: ignore[return-value]

    return decorate


def takes_out(function: F) -> F:
    """Give ``function`` the keyword ``out``: a tensor, or as many as it has results, that its results are stored in.

    They are resized to the results' shapes, and are what the call returns. Put it above ``@method()``: PyTorch's
    methods have no ``out``.

    Raises:
        RuntimeError: when a gradient is wanted, when memory overlaps, or when a result's dtype or device does not fit.
    """
    return takes_out_as(OutDtype.CAST)(function)


def stored(
    name: str,
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: dict[str, Any],
    out: Any,
    rule: OutDtype = OutDtype.CAST,
) -> Any:
    """``out``, after ``function(*args, **kwargs)`` has been stored in it; ``name`` is for errors."""
    targets = (out,) if isinstance(out, Tensor) else tuple(out)
    for target in targets:
        if not isinstance(target, Tensor):
            raise TypeError(
                f"{name}(): argument 'out' must be a Tensor or a tuple of them, not {type(target).__name__}"
            )
    inputs = _tensors((args, kwargs))
    for target in targets:
        refuse_internal_overlap(name, target)
        _refuse_overlap(name, target, inputs)
    if rule in (OutDtype.COMPUTE, OutDtype.CREATE) and kwargs.get("dtype") is None:
        kwargs = {**kwargs, "dtype": targets[0].dtype}
    if rule is OutDtype.CREATE and kwargs.get("device") is None:
        kwargs = {**kwargs, "device": targets[0].device}
    with no_grad(), autocasting.as_given():  # the dtype of `out` is what the caller wants
        results = function(*args, **kwargs)
    if isinstance(results, Tensor):
        results = (results,)
    if len(results) != len(targets):
        raise TypeError(f"{name}(): expected a tuple of {len(results)} tensors for 'out', got {len(targets)}")
    if grad_mode.enabled and any(r._data.dtype.kind not in "biu" for r in results):
        _refuse_history(name, (*targets, *inputs))
    with no_grad():
        for target, result in zip(targets, results, strict=True):
            _store(name, target, result, rule)
    # PyTorch returns its named tuple of the given tensors.
    return out if isinstance(out, Tensor) else _like(results, targets)


def _like(results: Any, targets: tuple[Tensor, ...]) -> Any:
    kind = type(results)
    return kind(*targets) if hasattr(kind, "_fields") else kind(targets)


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return []
    return [x for v in value for x in _tensors(v)]


def _refuse_history(name: str, tensors: Sequence[Tensor]) -> None:
    if any(x._node is not None for x in tensors):
        raise RuntimeError(
            f"{name}(): functions with out=... arguments don't support automatic differentiation, but one of the "
            "arguments requires grad."
        )


def _refuse_overlap(name: str, target: Tensor, inputs: Sequence[Tensor]) -> None:
    """An input may be the target itself, but not another stretch of its memory that reaches into it."""
    data = target._data
    for x in inputs:
        array = x._data
        if array is data or type(array) is not type(data) or isinstance(data, Aval):
            continue
        if (
            backends.array_module(data).may_share_memory(array, data)
            and array.flags.c_contiguous
            and data.flags.c_contiguous
            and (x.data_ptr(), array.nbytes) != (target.data_ptr(), data.nbytes)
        ):
            raise RuntimeError(
                f"{name}(): unsupported operation: some elements of the input tensor and the written-to tensor refer to "
                "a single memory location. Please clone() the tensor before performing the operation."
            )


def _store(name: str, target: Tensor, result: Tensor, rule: OutDtype) -> None:
    if target.device != result.device:
        raise RuntimeError(
            f"{name}(): expected out tensor to be on {result.device}, the device of the result, but got {target.device}"
        )
    _check_dtype(name, target.dtype, result.dtype, rule)
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


def _check_dtype(name: str, given: dtypes.dtype, computed: dtypes.dtype, rule: OutDtype) -> None:
    if rule in (OutDtype.CAST, OutDtype.JOINED):
        if not dtypes.can_cast(computed, given):
            kind = TypeError if rule is OutDtype.JOINED else RuntimeError
            raise kind(f"{name}(): result type {computed.name} can't be cast to the desired output type {given.name}")
    elif given is not computed:
        raise RuntimeError(f"{name}(): expected out tensor to have dtype {computed.name}, but got {given.name} instead")
