"""`autocast`, and what programs ask and set about it; `torchlite.autocasting` does the work."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from torchlite import backends, dtypes
from torchlite._tensor import Tensor
from torchlite.autocasting import DEVICES, autocast_mode, enable

F = TypeVar("F", bound=Callable[..., Any])
_HALVES = (dtypes.bfloat16, dtypes.float16)


class autocast:
    """Inside, operators that gain by it compute in a half type and those that would lose digits in float32.

    Products of matrices and convolutions take ``dtype``, losses and long sums float32, all others the dtypes that come
    in; the lists are PyTorch's of each kind of device. A parameter is converted once, until the outermost block ends.
    Backward belongs outside: it uses the dtypes of forward by itself. Also a decorator; holds for the current thread.

    On the CPU float16 saves memory, not time: NumPy has no products of half types, so they are computed in float32 and
    rounded. bfloat16 has kernels of its own.

    Args:
        device_type: "cpu" or "cuda", the device whose operators are concerned.
        dtype: bfloat16 or float16; by default `get_autocast_dtype`, which is bfloat16 on the CPU and float16 on CUDA.
        enabled: False turns autocasting off inside.
        cache_enabled: whether converted parameters are kept.

    Raises:
        RuntimeError: for any other device.

    >>> import torchlite as torch
    >>> with torch.autocast("cpu"):
    ...     print((torch.ones(2, 2) @ torch.ones(2, 2)).dtype)
    torch.bfloat16
    """

    def __init__(
        self,
        device_type: str,
        dtype: dtypes.dtype | None = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        _check_device("autocast", device_type)
        self.device = device_type
        self.fast_dtype = get_autocast_dtype(device_type) if dtype is None else dtype
        self._enabled = enabled and self._possible()
        self._cache_enabled = is_autocast_cache_enabled() if cache_enabled is None else cache_enabled
        self._before: list[tuple[bool, dtypes.dtype, bool]] = []

    def _possible(self) -> bool:
        """Whether there is such a device and such a dtype on it; where not, autocasting is disabled with a warning."""
        if self.device == "cuda" and not backends.cuda_device_count():
            warnings.warn("autocast: device_type 'cuda' was given, but CUDA is not available. Disabling", stacklevel=3)
            return False
        if self.fast_dtype not in _HALVES:
            warnings.warn(
                f"autocast on {self.device} supports only bfloat16 and float16, not {self.fast_dtype}. Disabling",
                stacklevel=3,
            )
            return False
        return True

    def __enter__(self) -> autocast:
        mode = autocast_mode
        self._before.append((self.device in mode.enabled, mode.lower[self.device], mode.cache_enabled))
        mode.lower[self.device] = self.fast_dtype
        mode.cache_enabled = self._cache_enabled
        mode.depth += 1
        enable(self.device, self._enabled)
        return self

    def __exit__(self, *exc: object) -> None:
        mode = autocast_mode
        if autocast_decrement_nesting() == 0:
            clear_autocast_cache()
        enabled, mode.lower[self.device], mode.cache_enabled = self._before.pop()
        enable(self.device, enabled)

    def __call__(self, func: F) -> F:
        """Use as a decorator."""

        @functools.wraps(func)
        def autocasting(*args: Any, **kwargs: Any) -> Any:
            with self:
                return func(*args, **kwargs)

        return autocasting  # type: ignore[return-value]


def _check_device(name: str, device_type: Any) -> None:
    if not isinstance(device_type, str):
        raise ValueError(f"{name}: Expected `device_type` of type `str`, got: `{type(device_type).__name__}`")
    if device_type not in DEVICES:
        raise RuntimeError(f"{name}: unsupported autocast device_type '{device_type}'; expected 'cpu' or 'cuda'")


def is_autocast_available(device_type: str) -> bool:
    """Whether `autocast` knows this kind of device."""
    return device_type in DEVICES


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether autocasting is on for a kind of device in this thread."""
    _check_device("is_autocast_enabled", device_type)
    return device_type in autocast_mode.enabled


def set_autocast_enabled(device_type: str | bool, enabled: bool | None = None) -> None:
    """Turn autocasting on or off for a kind of device in this thread; for CUDA where only a bool is given."""
    if enabled is None:
        device_type, enabled = "cuda", bool(device_type)
    _check_device("set_autocast_enabled", device_type)
    enable(str(device_type), enabled)


def get_autocast_dtype(device_type: str) -> dtypes.dtype:
    """The dtype in which products are computed on a kind of device while autocasting is on."""
    _check_device("get_autocast_dtype", device_type)
    return autocast_mode.lower[device_type]


def set_autocast_dtype(device_type: str, dtype: dtypes.dtype) -> None:
    """Set what `get_autocast_dtype` says, in this thread."""
    _check_device("set_autocast_dtype", device_type)
    autocast_mode.lower[device_type] = dtype


def is_autocast_cache_enabled() -> bool:
    """Whether converted parameters are kept until the outermost `autocast` ends."""
    return autocast_mode.cache_enabled


def set_autocast_cache_enabled(enabled: bool) -> None:
    """Set what `is_autocast_cache_enabled` says, in this thread."""
    autocast_mode.cache_enabled = enabled


def clear_autocast_cache() -> None:
    """Forget the converted parameters of this thread."""
    autocast_mode.cache.clear()


def autocast_increment_nesting() -> int:
    """One more open `autocast` block in this thread; how many there are now."""
    autocast_mode.depth += 1
    return autocast_mode.depth


def autocast_decrement_nesting() -> int:
    """One open `autocast` block less in this thread; how many there are now."""
    autocast_mode.depth -= 1
    return autocast_mode.depth


def is_autocast_cpu_enabled() -> bool:
    """Older name of ``is_autocast_enabled("cpu")``."""
    return is_autocast_enabled("cpu")


def set_autocast_cpu_enabled(enabled: bool) -> None:
    """Older name of ``set_autocast_enabled("cpu", enabled)``."""
    set_autocast_enabled("cpu", enabled)


def get_autocast_cpu_dtype() -> dtypes.dtype:
    """Older name of ``get_autocast_dtype("cpu")``."""
    return get_autocast_dtype("cpu")


def set_autocast_cpu_dtype(dtype: dtypes.dtype) -> None:
    """Older name of ``set_autocast_dtype("cpu", dtype)``."""
    set_autocast_dtype("cpu", dtype)


def get_autocast_gpu_dtype() -> dtypes.dtype:
    """Older name of ``get_autocast_dtype("cuda")``."""
    return get_autocast_dtype("cuda")


def set_autocast_gpu_dtype(dtype: dtypes.dtype) -> None:
    """Older name of ``set_autocast_dtype("cuda", dtype)``."""
    set_autocast_dtype("cuda", dtype)


def custom_fwd(fwd: Any = None, *, device_type: str, cast_inputs: dtypes.dtype | None = None) -> Any:
    """Make the ``forward`` of an `autograd.Function` obey `autocast`, together with `custom_bwd` for its ``backward``.

    Args:
        fwd: the function, where this is used as a plain decorator.
        device_type: "cpu" or "cuda".
        cast_inputs: where given and autocasting is on, floating-point tensors that come in are converted to it and the
            function computes as given.
    """
    _check_device("custom_fwd", device_type)
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def forward(*args: Any, **kwargs: Any) -> Any:
        ctx, on = args[0], is_autocast_enabled(device_type)
        ctx._dtype = get_autocast_dtype(device_type)
        ctx._fwd_used_autocast = on and cast_inputs is None
        if not on or cast_inputs is None:
            return fwd(*args, **kwargs)
        with autocast(device_type, enabled=False):
            return fwd(*_as_dtype(args, device_type, cast_inputs), **_as_dtype(kwargs, device_type, cast_inputs))

    return forward


def custom_bwd(bwd: Any = None, *, device_type: str) -> Any:
    """Make the ``backward`` of an `autograd.Function` compute with autocasting on or off as its `custom_fwd` did."""
    _check_device("custom_bwd", device_type)
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def backward(*args: Any, **kwargs: Any) -> Any:
        with autocast(device_type, enabled=args[0]._fwd_used_autocast, dtype=args[0]._dtype):
            return bwd(*args, **kwargs)

    return backward


def _as_dtype(value: Any, device_type: str, dtype: dtypes.dtype) -> Any:
    """``value`` with the floating-point tensors of a device that it holds converted; float64 stays."""
    if isinstance(value, Tensor):
        eligible = value.is_floating_point() and value.device.type == device_type and value.dtype is not dtypes.float64
        return value.to(dtype) if eligible else value
    if isinstance(value, (str, np.ndarray)):
        return value
    if isinstance(value, Mapping):
        return {_as_dtype(k, device_type, dtype): _as_dtype(v, device_type, dtype) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_as_dtype(v, device_type, dtype) for v in value)
    return value
