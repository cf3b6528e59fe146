"""Convolution in one and two dimensions and its two gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite.backends.native.library import Family
from torchlite.backends.native.windows import pairs

Array = np.ndarray[Any, Any]

C = Family("vectors.h", "convolution.c", convolution="aaaaa->i", input_grad="aaaa->i", weight_grad="aaaa->i")

# Registers hold sums for eight channels at once, and vectors run along positions: below these NumPy's products are faster.
_FEWEST_CHANNELS, _FEWEST_POSITIONS = 4, 32
# With this many pairs of channels or less, whose weights stay in the second-level cache, half as many positions are enough to add up.
_FEW_PAIRS = 1 << 14


def _geometry(
    x: tuple[int, ...], weight: tuple[int, ...], out: tuple[int, ...], window: Any, groups: int, *, fewest: int
) -> Array | None:
    """What ``Geometry`` holds in C; None where the kernels don't help."""
    one = window.ndim == 1
    if window.ndim > 2 or 0 in (*x, *weight, *out):
        return None
    size, positions = ((1, x[2]), (1, out[2])) if one else (x[2:], out[2:])
    channels = weight[1], weight[0] // groups
    if min(channels[1], channels[0] * 9) < _FEWEST_CHANNELS or positions[0] * positions[1] < fewest:
        return None
    return np.array([x[0], groups, *channels, *size, *pairs(window), *positions], np.int64)


def _fewest(weight: tuple[int, ...]) -> int:
    """Positions from which on the kernels of sums over channels are faster."""
    return _FEWEST_POSITIONS // 2 if weight[0] * weight[1] <= _FEW_PAIRS else _FEWEST_POSITIONS


def _dense(*arrays: Array) -> list[Array] | None:
    if any(array.dtype != np.float32 for array in arrays):
        return None
    return [np.ascontiguousarray(array) for array in arrays]


def convolution(x: Array, weight: Array, *bias: Array, window: Any, groups: int) -> Array | None:
    """The convolution of x (N, C, *) with a weight (O, C / groups, *), plus a bias (O,)."""
    size = window.out_size("convolution", x.shape[2:])
    sizes = x.shape, weight.shape, (x.shape[0], weight.shape[0], *size)
    geometry = _geometry(*sizes, window, groups, fewest=_fewest(weight.shape))
    arrays = _dense(x, weight, *bias)
    if geometry is None or arrays is None or x.shape[1] != weight.shape[1] * groups:
        return None
    out = np.empty((x.shape[0], weight.shape[0], *size), x.dtype)
    return out if C.convolution(*arrays, *([] if bias else [None]), out, geometry) else None


def input_grad(g: Array, weight: Array, *, window: Any, groups: int, size: tuple[int, ...]) -> Array | None:
    """The cotangent of x, of ``size`` after its channels."""
    shape = (g.shape[0], weight.shape[1] * groups, *size)
    geometry = _geometry(shape, weight.shape, g.shape, window, groups, fewest=_fewest(weight.shape))
    arrays = _dense(g, weight)
    if geometry is None or arrays is None or g.shape[1] != weight.shape[0]:
        return None
    out = np.empty(shape, g.dtype)
    return out if C.input_grad(*arrays, out, geometry) else None


def weight_grad(x: Array, g: Array, *, window: Any, groups: int) -> Array | None:
    """The cotangent of the weight."""
    shape = (g.shape[1], x.shape[1] // groups, *window.kernel)
    geometry = _geometry(x.shape, shape, g.shape, window, groups, fewest=_fewest(shape))
    arrays = _dense(x, g)
    if geometry is None or arrays is None:
        return None
    out = np.empty(shape, x.dtype)
    return out if C.weight_grad(*arrays, out, geometry) else None
