"""Window functions: ``torchlite.signal.windows``.

A window has ``M`` points, n = 0 to M - 1; with ``sym=False`` it is one period of a window that repeats, for spectra. N in the
formulas is M - 1, or M where it repeats. Windows are computed in float64 and rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from torchlite import dtypes, layouts
from torchlite._tensor import Tensor
from torchlite.integers import takes_integers
from torchlite.ops.bessel import i0
from torchlite.ops.creation import arange

__all__ = [
    "bartlett",
    "blackman",
    "cosine",
    "exponential",
    "gaussian",
    "general_cosine",
    "general_hamming",
    "hamming",
    "hann",
    "kaiser",
    "nuttall",
]


@takes_integers
def sampled(
    name: str,
    values: Callable[[Tensor, int], Tensor],
    M: int,
    sym: bool,
    dtype: dtypes.dtype | None,
    layout: Any,
    device: Any,
    requires_grad: bool,
) -> Tensor:
    """``values(n, N)`` at the points of a window; a window of one point is 1.

    Raises:
        ValueError: for a negative length, or another dtype than float32 and float64.
    """
    if M < 0:
        raise ValueError(f"{name} requires non-negative window length, got M={M}")
    if layout not in (None, layouts.strided):
        raise ValueError(f"{name} is implemented for strided tensors only, got: {layout}")
    dtype = dtypes.get_default_dtype() if dtype is None else dtype
    if dtype not in (dtypes.float32, dtypes.float64):
        raise ValueError(f"{name} expects float32 or float64 dtypes, got: {dtype}")
    n = arange(M, dtype=dtypes.float64, device=device)
    window = values(n, M - 1 if sym else M) if M > 1 else n + 1
    return window.to(dtype).requires_grad_(requires_grad)


def cosines(a: Sequence[float]) -> Callable[[Tensor, int], Tensor]:
    """Σₖ (-1)ᵏ aₖ cos(2πkn / N) as a function of n and N."""

    def values(n: Tensor, period: int) -> Tensor:
        total: Tensor = n * 0
        for k, weight in enumerate(a):
            total = total + (n * (2 * math.pi * k / period)).cos() * ((-1) ** k * weight)
        return total

    return values


def triangle(n: Tensor, period: int) -> Tensor:
    """1 - |2n / N - 1|."""
    return 1 - (n * (2 / period) - 1).abs()


def kaiser_values(beta: float) -> Callable[[Tensor, int], Tensor]:
    """I₀(β √(1 - (2n / N - 1)²)) / I₀(β) as a function of n and N."""

    def values(n: Tensor, period: int) -> Tensor:
        inside = (1 - (n * (2 / period) - 1).square()).clamp(min=0).sqrt()
        return i0(inside * beta) / i0(n.new_full((), beta))

    return values


def general_cosine(
    M: int,
    *,
    a: Sequence[float],
    sym: bool = True,
    dtype: dtypes.dtype | None = None,
    layout: Any = layouts.strided,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Σₖ (-1)ᵏ aₖ cos(2πkn / N).

    Raises:
        TypeError: where ``a`` is not a list or tuple; ValueError where it is empty.
    """
    if not isinstance(a, list | tuple):
        raise TypeError(f"general_cosine: Coefficients must be a list/tuple, got {type(a).__name__}")
    if not a:
        raise ValueError("general_cosine: Coefficients cannot be empty")
    return sampled("general_cosine", cosines(a), M, sym, dtype, layout, device, requires_grad)


def general_hamming(
    M: int,
    *,
    alpha: float = 0.54,
    sym: bool = True,
    dtype: dtypes.dtype | None = None,
    layout: Any = layouts.strided,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """α - (1 - α) cos(2πn / N)."""
    return sampled("general_hamming", cosines((alpha, 1 - alpha)), M, sym, dtype, layout, device, requires_grad)


def hamming(
    M: int,
    *,
    sym: bool = True,
    dtype: dtypes.dtype | None = None,
    layout: Any = layouts.strided,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Hamming's window: 0.54 - 0.46 cos(2πn / N)."""
    return sampled("hamming", cosines((0.54, 0.46)), M, sym, dtype, layout, device, requires_grad)


def hann(
    M: int,
    *,
    sym: bool = True,
    dtype: dtypes.dtype | None = None,
    layout: Any = layouts.strided,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Hann's window: (1 - cos(2πn / N)) / 2."""
    return sampled("hann", cosines((0.5, 0.5)), M, sym, dtype, layout, device, requires_grad)


def blackman(
    M: int,
    *,
    sym: bool = True,
    dtype: dtypes.dtype | None = None,
    layout: Any = layouts.strided,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Blackman's window: 0.42 - 0.5 cos(2πn / N) + 0.08 cos(4πn / N)."""
    return sampled("blackman", cosines((0.42, 0.5, 0.08)), M, sym, dtype, layout, device, requires_grad)


def nuttall(
    M: int,
    *,
    sym: bool = True,
    dtype: dtypes.dtype | None = None,
    layout: Any = layouts.strided,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Nuttall's window of four cosines with the least side lobes (A. Nuttall, 1981)."""
    weights = (0.3635819, 0.4891775, 0.1365995, 0.0106411)
    return sampled("nuttall", cosines(weights), M, sym, dtype, layout, device, requires_grad)


def bartlett(
    M: int,
    *,
    sym: bool = True,
    dtype: dtypes.dtype | None = None,
    layout: Any = layouts.strided,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Bartlett's triangle: 1 - |2n / N - 1|."""
    return sampled("bartlett", triangle, M, sym, dtype, layout, device, requires_grad)


def cosine(
    M: int,
    *,
    sym: bool = True,
    dtype: dtypes.dtype | None = None,
    layout: Any = layouts.strided,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Half a wave: sin(π (n + ½) / (N + 1))."""
    return sampled(
        "cosine",
        lambda n, period: ((n + 0.5) * (math.pi / (period + 1))).sin(),
        M, sym, dtype, layout, device, requires_grad,
    )  # fmt: skip


def gaussian(
    M: int,
    *,
    std: float = 1.0,
    sym: bool = True,
    dtype: dtypes.dtype | None = None,
    layout: Any = layouts.strided,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """exp(-½ (x / std)²), x counted from the middle, N / 2.

    Raises:
        ValueError: where ``std`` is not positive.
    """
    if std <= 0:
        raise ValueError(f"gaussian: Standard deviation must be positive, got: {std} instead.")
    return sampled(
        "gaussian",
        lambda n, period: (((n - period / 2) / std).square() * -0.5).exp(),
        M, sym, dtype, layout, device, requires_grad,
    )  # fmt: skip


def exponential(
    M: int,
    *,
    center: float | None = None,
    tau: float = 1.0,
    sym: bool = True,
    dtype: dtypes.dtype | None = None,
    layout: Any = layouts.strided,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """exp(-|n - center| / tau); ``center``, by default N / 2, may be given where the window repeats.

    Raises:
        ValueError: where ``tau`` is not positive, and for a ``center`` of a symmetric window.
    """
    if tau <= 0:
        raise ValueError(f"exponential: Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ValueError("exponential: Center must be None for symmetric windows")
    return sampled(
        "exponential",
        lambda n, period: (-(n - (period / 2 if center is None else center)).abs() / tau).exp(),
        M, sym, dtype, layout, device, requires_grad,
    )  # fmt: skip


def kaiser(
    M: int,
    *,
    beta: float = 12.0,
    sym: bool = True,
    dtype: dtypes.dtype | None = None,
    layout: Any = layouts.strided,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Kaiser's window: I₀(β √(1 - (2n / N - 1)²)) / I₀(β).

    Raises:
        ValueError: for a negative ``beta``.
    """
    if beta < 0:
        raise ValueError(f"kaiser: beta must be non-negative, got: {beta} instead.")
    return sampled("kaiser", kaiser_values(beta), M, sym, dtype, layout, device, requires_grad)
