"""Pooling by means and by power means."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from torchlite import dtypes
from torchlite._tensor import Tensor, wrap
from torchlite.autocasting import autocasts
from torchlite.dispatch import apply
from torchlite.ir import FLOAT32_ON_CPU
from torchlite.nn.functional.lengths import lengths, pooling_window
from torchlite.nn.functional.max_pooling import max_pool1d, max_pool2d, max_pool3d
from torchlite.ops.arithmetic import div, sign
from torchlite.ops.conversion import to
from torchlite.ops.destination import takes_out
from torchlite.ops.pointwise import relu
from torchlite.ops.pooling import sum_windows
from torchlite.ops.windows import Lengths, Window, size_of


def avg_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window of (N, C, L) or (C, L); see `avg_pool2d`."""
    return _averaged(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


@takes_out
def avg_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window.

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size, stride, padding: an int or (height, width); the stride is the kernel size by default.
        ceil_mode: also count windows that reach beyond the end.
        count_include_pad: whether the zeros of the padding count as elements.
        divisor_override: what the sums are divided by instead of the number of elements.
    """
    return _averaged(2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


@takes_out
@autocasts(FLOAT32_ON_CPU)
def avg_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window of (N, C, D, H, W) or (C, D, H, W); see `avg_pool2d`."""
    return _averaged(3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def _averaged(
    n: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    name = f"avg_pool{n}d"
    window = pooling_window(input, name, n, kernel_size, stride, padding, 1, ceil_mode)
    if divisor_override == 0:
        raise RuntimeError(f"{name}: divisor must be not zero")
    half = input.dtype in (dtypes.float16, dtypes.bfloat16)
    x = input.to(dtypes.float32) if half else input  # so that the sum is not rounded before the division
    total: Tensor = apply(sum_windows, (x,), {"window": window})
    if divisor_override is not None:
        divisor: Any = divisor_override
    elif not any(window.padding) and not window.ceil:
        divisor = math.prod(window.kernel)
    else:
        counts = _counts(window, size_of(input, window), size_of(total, window), count_include_pad)
        divisor = to(wrap(counts.astype(total.dtype.numpy)), total.device)
    mean = total / divisor if total.is_floating_point() else div(total, divisor, rounding_mode="trunc")
    return mean.to(input.dtype) if half else mean


def _counts(window: Window, size: Lengths, out: Lengths, with_padding: bool) -> Any:
    """The number of elements of every window; what lies beyond the padding is never counted."""
    counts = np.ones((), np.int64)
    for n, m, k, s, p in zip(size, out, window.kernel, window.stride, window.padding, strict=True):
        starts = np.arange(m) * s - p
        ends = np.minimum(starts + k, n + p)
        along = ends - starts if with_padding else np.minimum(ends, n) - np.maximum(starts, 0)
        counts = counts[..., None] * along
    return counts


def lp_pool1d(input: Tensor, norm_type: float, kernel_size: int, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """(Σ xᵖ)^(1/p) of each window of (N, C, L) or (C, L), p the ``norm_type``."""
    return _power_averaged(1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """(Σ xᵖ)^(1/p) of each window of (N, C, H, W) or (C, H, W), p the ``norm_type``."""
    return _power_averaged(2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """(Σ xᵖ)^(1/p) of each window of (N, C, D, H, W) or (C, D, H, W), p the ``norm_type``."""
    return _power_averaged(3, input, norm_type, kernel_size, stride, ceil_mode)


def _power_averaged(n: int, input: Tensor, norm_type: float, kernel_size: Any, stride: Any, ceil_mode: bool) -> Tensor:
    if abs(norm_type) == math.inf:
        largest = (max_pool1d, max_pool2d, max_pool3d)[n - 1]
        if norm_type > 0:
            return largest(input.abs(), kernel_size, stride, 0, 1, ceil_mode)
        return -largest(-input.abs(), kernel_size, stride, 0, 1, ceil_mode)
    mean = _averaged(n, input.pow(norm_type), kernel_size, stride, 0, ceil_mode, True, None)
    elements = math.prod(lengths(f"lp_pool{n}d", "kernel_size", kernel_size, n))
    # The product is the mean itself; relu makes the slope 0 where the mean is.
    return (sign(mean) * relu(mean.abs()) * elements).pow(1.0 / norm_type)
