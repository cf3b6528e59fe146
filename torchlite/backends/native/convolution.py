"""Convolution in one and two dimensions and its two gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from torchlite.backends.native import small_convolution
from torchlite.backends.native.bfloat16 import has_tiles
from torchlite.backends.native.library import Family
from torchlite.backends.native.windows import pairs

Array = np.ndarray[Any, Any]

C = Family(
    "vectors.h", "convolution_geometry.h", "convolution.c", apart=small_convolution.APART, **small_convolution.FUNCTIONS
)

# Registers hold sums for eight channels at once, and vectors run along positions: below these NumPy's products are faster.
_FEWEST_CHANNELS, _FEWEST_POSITIONS = 4, 32
# With this many pairs of channels or less, whose weights stay in the second-level cache, half as many positions are enough to add up.
_FEW_PAIRS = 1 << 14
# Up to so many multiplications, the second number of images of a few positions, products of bfloat16 save less than packing it takes.
_MOST_CONVERTED, _MOST_CONVERTED_SMALL = 1 << 21, 1 << 25


def _kernels(
    x: tuple[int, ...], weight: tuple[int, ...], out: tuple[int, ...], window: Any, groups: int, sums: int
) -> tuple[Family, Array] | None:
    """The kernels that help, which add up for ``sums`` channels, and what ``ConvolutionGeometry`` holds in C; None where none do."""
    if window.ndim > 2 or 0 in (*x, *weight, *out):
        return None
    size, positions = ((1, x[2]), (1, out[2])) if window.ndim == 1 else (x[2:], out[2:])
    channels, count = (weight[1], weight[0] // groups), positions[0] * positions[1]
    geometry = np.array([x[0], groups, *channels, *size, *pairs(window), *positions], np.int64)
    multiplications = x[0] * weight[0] * math.prod(weight[1:]) * count
    if small_convolution.suits(x[0], size, positions, sums, multiplications):
        return small_convolution.C, geometry
    fewest = _FEWEST_POSITIONS // 2 if weight[0] * weight[1] <= _FEW_PAIRS else _FEWEST_POSITIONS
    return None if min(channels[1], channels[0] * 9) < _FEWEST_CHANNELS or count < fewest else (C, geometry)


def better_than_bfloat16(
    x: tuple[int, ...], weight: tuple[int, ...], out: tuple[int, ...], window: Any, groups: int, sums: int
) -> bool:
    """Whether bfloat16 is computed faster converted to float32, here: little of it, where there are no tile registers."""
    multiplications = x[0] * math.prod(weight) * math.prod(out[2:])
    if multiplications > _MOST_CONVERTED_SMALL:
        return False
    kernels = _kernels(x, weight, out, window, groups, sums)
    fits = kernels is not None and (multiplications <= _MOST_CONVERTED or kernels[0] is small_convolution.C)
    return fits and not has_tiles()


def _dense(*arrays: Array) -> list[Array] | None:
    if any(array.dtype != np.float32 for array in arrays):
        return None
    return [np.ascontiguousarray(array) for array in arrays]


def convolution(x: Array, weight: Array, *bias: Array, window: Any, groups: int) -> Array | None:
    """The convolution of x (N, C, *) with a weight (O, C / groups, *), plus a bias (O,)."""
    shape = (x.shape[0], weight.shape[0], *window.out_size("convolution", x.shape[2:]))
    arrays = _dense(x, weight, *bias)
    if arrays is None or x.shape[1] != weight.shape[1] * groups:
        return None
    kernels = _kernels(x.shape, weight.shape, shape, window, groups, weight.shape[0] // groups)
    if kernels is None:
        return None
    out = np.empty(shape, x.dtype)
    return out if kernels[0].convolution(*arrays, *([] if bias else [None]), out, kernels[1]) else None


def input_grad(g: Array, weight: Array, *, window: Any, groups: int, size: tuple[int, ...]) -> Array | None:
    """The cotangent of x, of ``size`` after its channels."""
    shape = (g.shape[0], weight.shape[1] * groups, *size)
    arrays = _dense(g, weight)
    if arrays is None or g.shape[1] != weight.shape[0]:
        return None
    kernels = _kernels(shape, weight.shape, g.shape, window, groups, weight.shape[1])
    if kernels is None:
        return None
    out = np.empty(shape, g.dtype)
    return out if kernels[0].input_grad(*arrays, out, kernels[1]) else None


def weight_grad(x: Array, g: Array, *, window: Any, groups: int) -> Array | None:
    """The cotangent of the weight."""
    shape = (g.shape[1], x.shape[1] // groups, *window.kernel)
    arrays = _dense(x, g)
    if arrays is None:
        return None
    kernels = _kernels(x.shape, shape, g.shape, window, groups, min(shape[:2]))
    if kernels is None:
        return None
    out = np.empty(shape, x.dtype)
    return out if kernels[0].weight_grad(*arrays, out, kernels[1]) else None
