"""C text of max-pooling of arrays (N, H, W, C), and of its gradient, with all sizes in it as constants."""

from __future__ import annotations

import math
from typing import Any

from torchlite.backends.native.convolution_nhwc import Kernel, Sizes, backward_axes, dense, forward_axes, geometry

HEADERS = ("convolution_nhwc.h", "pooling_nhwc.h")


def handles(window: Any) -> bool:
    """Whether there are kernels for such a window: places are bytes."""
    return window.ndim == 2 and math.prod(window.kernel) <= 256


def max_pool(name: str, x: Sizes, out: Sizes, window: Any) -> Kernel:
    """``name(x, out, places)``: the largest element of every window, and its place in the window."""
    fields, _, _ = geometry(x, out, forward_axes(window), dense(x), copies=False)
    return Kernel(f"MAX_POOL({name}, {fields})\n", 0)


def spread(name: str, g: Sizes, out: Sizes, window: Any) -> Kernel:
    """``name(g, places, out, scratch, finish, context)``: zeros to which each element is added at its place."""
    fields, scratch, _ = geometry(g, out, backward_axes(window), dense(g), copies=False)
    return Kernel(f"SPREAD({name}, {fields})\n", scratch)
