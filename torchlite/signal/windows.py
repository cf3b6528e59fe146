"""Window functions: ``torchlite.signal.windows``.

A window has ``M`` points; with ``sym=False`` it is one period of a window that repeats, for spectra.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.ops.arithmetic import where
from torchlite.ops.creation import arange


def _places(name: str, M: int, dtype: dtypes.dtype | None, device: Any) -> Tensor:
    if M < 0:
        raise ValueError(f"{name} requires non-negative window length, got M={M}")
    return arange(M, dtype=dtypes.float64, device=device).to(dtype or dtypes.get_default_dtype())


def _period(M: int, sym: bool) -> int:
    return max(M - 1 if sym else M, 1)


def general_cosine(
    M: int, *, a: Sequence[float], sym: bool = True, dtype: dtypes.dtype | None = None, device: Any = None
) -> Tensor:
    """Σₖ (-1)ᵏ aₖ cos(2πkn / N)."""
    n = _places("general_cosine", M, dtype, device)
    if M == 1:
        return n + 1
    total: Tensor = n * 0
    for k, weight in enumerate(a):
        total = total + (n * (2 * math.pi * k / _period(M, sym))).cos() * ((-1) ** k * weight)
    return total


def general_hamming(
    M: int, *, alpha: float = 0.54, sym: bool = True, dtype: dtypes.dtype | None = None, device: Any = None
) -> Tensor:
    """α - (1 - α) cos(2πn / N)."""
    return general_cosine(M, a=(alpha, 1 - alpha), sym=sym, dtype=dtype, device=device)


def hamming(M: int, *, sym: bool = True, dtype: dtypes.dtype | None = None, device: Any = None) -> Tensor:
    """Hamming's window: 0.54 - 0.46 cos(2πn / N)."""
    return general_hamming(M, sym=sym, dtype=dtype, device=device)


def hann(M: int, *, sym: bool = True, dtype: dtypes.dtype | None = None, device: Any = None) -> Tensor:
    """Hann's window: (1 - cos(2πn / N)) / 2."""
    return general_hamming(M, alpha=0.5, sym=sym, dtype=dtype, device=device)


def blackman(M: int, *, sym: bool = True, dtype: dtypes.dtype | None = None, device: Any = None) -> Tensor:
    """Blackman's window: 0.42 - 0.5 cos(2πn / N) + 0.08 cos(4πn / N)."""
    return general_cosine(M, a=(0.42, 0.5, 0.08), sym=sym, dtype=dtype, device=device)


def bartlett(M: int, *, sym: bool = True, dtype: dtypes.dtype | None = None, device: Any = None) -> Tensor:
    """Bartlett's triangle: 1 - |2n / N - 1|."""
    n = _places("bartlett", M, dtype, device)
    if M == 1:
        return n + 1
    rising = n * (2 / _period(M, sym))
    return where(rising <= 1, rising, 2 - rising)


def cosine(M: int, *, sym: bool = True, dtype: dtypes.dtype | None = None, device: Any = None) -> Tensor:
    """Half a wave: sin(π (n + ½) / (N + 1))."""
    n = _places("cosine", M, dtype, device)
    return ((n + 0.5) * (math.pi / max(M if sym or M == 1 else M + 1, 1))).sin()


def gaussian(
    M: int, *, std: float = 1.0, sym: bool = True, dtype: dtypes.dtype | None = None, device: Any = None
) -> Tensor:
    """exp(-½ (x / std)²), x counted from the middle."""
    n = _places("gaussian", M, dtype, device)
    x = (n - _period(M, sym) / 2 if M > 1 else n) / (std * math.sqrt(2))
    return (-x * x).exp()


def exponential(
    M: int, *, tau: float = 1.0, sym: bool = True, dtype: dtypes.dtype | None = None, device: Any = None
) -> Tensor:
    """exp(-|x| / tau), x counted from the middle."""
    n = _places("exponential", M, dtype, device)
    return (-(n - _period(M, sym) / 2 if M > 1 else n).abs() / tau).exp()


def hann_window(window_length: int, periodic: bool = True, *, dtype: Any = None, device: Any = None) -> Tensor:
    """`hann`, periodic unless said otherwise."""
    return hann(window_length, sym=not periodic, dtype=dtype, device=device)


def hamming_window(
    window_length: int,
    periodic: bool = True,
    alpha: float = 0.54,
    beta: float = 0.46,
    *,
    dtype: Any = None,
    device: Any = None,
) -> Tensor:
    """α - β cos(2πn / N), periodic unless said otherwise."""
    return general_cosine(window_length, a=(alpha, beta), sym=not periodic, dtype=dtype, device=device)


def blackman_window(window_length: int, periodic: bool = True, *, dtype: Any = None, device: Any = None) -> Tensor:
    """`blackman`, periodic unless said otherwise."""
    return blackman(window_length, sym=not periodic, dtype=dtype, device=device)


def bartlett_window(window_length: int, periodic: bool = True, *, dtype: Any = None, device: Any = None) -> Tensor:
    """`bartlett`, periodic unless said otherwise."""
    return bartlett(window_length, sym=not periodic, dtype=dtype, device=device)
