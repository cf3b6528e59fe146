"""C text of batch normalisation of arrays (N, H, W, C), with all sizes in it as constants."""

from __future__ import annotations

from torchlite.backends.native.convolution_nhwc import Kernel

HEADERS = ("convolution_nhwc.h", "normalization_nhwc.h")

_SHARES = 64  # as in C


def moments(name: str, positions: int, channels: int, eps: float) -> Kernel:
    """``name(x, mean, scale, scratch)``: the mean and 1 / √(variance + eps) of each channel."""
    return Kernel(f"MOMENTS({name}, {positions}, {channels}, {float(eps)!r}f)\n", _SHARES * channels * 4)


def standardize_grad(name: str, positions: int, channels: int) -> Kernel:
    """``name(g, y, scale, out, scratch)``: the cotangent of what was standardized to y."""
    return Kernel(f"STANDARDIZE_GRADIENT({name}, {positions}, {channels})\n", _SHARES * channels * 4 + 2 * channels)
