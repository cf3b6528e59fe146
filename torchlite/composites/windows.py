"""The window functions of ``torch`` itself: those of `torchlite.signal.windows`, periodic unless said otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torchlite import dtypes, layouts
from torchlite._tensor import Tensor
from torchlite.signal.windows import cosines, kaiser_values, sampled, triangle


def _window(
    name: str,
    values: Callable[[Tensor, int], Tensor],
    length: int,
    periodic: bool,
    dtype: dtypes.dtype | None,
    layout: Any,
    device: Any,
    requires_grad: bool,
) -> Tensor:
    if length < 0:
        raise RuntimeError(f"{name} requires non-negative window_length, got window_length={length}")
    dtype = dtypes.get_default_dtype() if dtype is None else dtype
    if not dtype.is_floating_point:
        raise RuntimeError(f"{name} expects floating point dtypes, got: {dtype}")
    window = sampled(name, values, length, not periodic, dtypes.float64, layout, device, False)
    return window.to(dtype).requires_grad_(requires_grad)


def hann_window(
    window_length: int,
    periodic: bool = True,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = layouts.strided,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Hann's window: (1 - cos(2πn / N)) / 2."""
    values = cosines((0.5, 0.5))
    return _window("hann_window", values, window_length, periodic, dtype, layout, device, requires_grad)


def hamming_window(
    window_length: int,
    periodic: bool = True,
    alpha: float = 0.54,
    beta: float = 0.46,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = layouts.strided,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """α - β cos(2πn / N)."""
    values = cosines((alpha, beta))
    return _window("hamming_window", values, window_length, periodic, dtype, layout, device, requires_grad)


def blackman_window(
    window_length: int,
    periodic: bool = True,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = layouts.strided,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Blackman's window: 0.42 - 0.5 cos(2πn / N) + 0.08 cos(4πn / N)."""
    values = cosines((0.42, 0.5, 0.08))
    return _window("blackman_window", values, window_length, periodic, dtype, layout, device, requires_grad)


def bartlett_window(
    window_length: int,
    periodic: bool = True,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = layouts.strided,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Bartlett's triangle: 1 - |2n / N - 1|."""
    return _window("bartlett_window", triangle, window_length, periodic, dtype, layout, device, requires_grad)


def kaiser_window(
    window_length: int,
    periodic: bool = True,
    beta: float = 12.0,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = layouts.strided,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Kaiser's window: I₀(β √(1 - (2n / N - 1)²)) / I₀(β)."""
    values = kaiser_values(beta)
    return _window("kaiser_window", values, window_length, periodic, dtype, layout, device, requires_grad)
