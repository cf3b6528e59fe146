"""C text of batch normalisation of arrays (N, H, W, C), with all sizes in it as constants."""

from __future__ import annotations

from torchlite.backends.native.convolution_nhwc import Kernel

HEADERS = ("convolution_nhwc.h", "normalization_nhwc.h")

_SHARES, _BLOCK = 64, 1 << 12  # as in C


def standardize(name: str, positions: int, channels: int, eps: float) -> Kernel:
    """``name(x, out, mean, scale, scratch, finish, context)``: (x - mean) / √(variance + eps) for each channel."""
    return Kernel(
        f"STANDARDIZE({name}, {positions}, {channels}, {float(eps)!r}f)\n",
        _SHARES * (channels * 4 + max(_BLOCK, channels)),
    )


def standardize_grad(name: str, positions: int, channels: int) -> Kernel:
    """``name(g, y, scale, out, scratch)``: the cotangent of what was standardized to y."""
    return Kernel(f"STANDARDIZE_GRADIENT({name}, {positions}, {channels})\n", _SHARES * channels * 4 + 2 * channels)
