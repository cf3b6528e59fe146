"""Pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torchlite._tensor import Tensor
from torchlite.dispatch import apply
from torchlite.nn.functional.convolution import pair
from torchlite.ops.windows import Window, flat_indices, max_pool2d_op


def max_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window.

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size, stride, padding, dilation: an int or (height, width); the stride is the kernel size by default.
        ceil_mode: also count windows that reach beyond the end.
        return_indices: also give where in the flattened plane each element was found.
    """
    if input.ndim not in (3, 4):
        raise RuntimeError(f"max_pool2d: expected 3D or 4D input (N, C, H, W), got shape {list(input.shape)}")
    kernel = pair("kernel_size", kernel_size)
    window = Window(
        kernel,
        pair("stride", stride) if stride not in (None, ()) else kernel,
        pair("padding", padding),
        pair("dilation", dilation),
        ceil_mode,
    )
    if any(2 * p > k for p, k in zip(window.padding, kernel, strict=True)):
        raise RuntimeError(
            f"max_pool2d: pad should be at most half of kernel size, got padding {list(window.padding)} and kernel {list(kernel)}"
        )
    values, places = apply(max_pool2d_op, (input,), {"window": window})
    if not return_indices:
        return values
    return values, flat_indices(places, window, (input.shape[-2], input.shape[-1]))


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Means over a grid of ``output_size`` (height, width; None keeps a length) regions that cover the input.

    Region i of a length n goes from ⌊i·n/out⌋ to ⌈(i+1)·n/out⌉.
    """
    sizes = output_size if isinstance(output_size, Sequence) else (output_size, output_size)
    out = input
    for axis, wanted in zip((-2, -1), sizes, strict=True):
        n = out.shape[axis]
        wanted = n if wanted is None else wanted
        if wanted == n:
            continue
        if n % wanted == 0:
            place = out.ndim + axis
            out = out.unflatten(place, (wanted, n // wanted)).mean(place + 1)
        else:
            means = _region_means(n, wanted, out)
            out = (out.transpose(axis, -1) @ means).transpose(axis, -1)
    return out


def _region_means(n: int, regions: int, like: Tensor) -> Tensor:
    """The (n, regions) matrix that averages regions of a length ``n``."""
    bounds = [(i * n // regions, -(-(i + 1) * n // regions)) for i in range(regions)]
    weights = [[1 / (end - start) if start <= row < end else 0.0 for start, end in bounds] for row in range(n)]
    return like.new_tensor(weights)
