"""Convolution of bfloat16 arrays in one and two dimensions and its two gradients, with sums in float32."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from torchlite.backends.native.bfloat16 import BFLOAT16
from torchlite.backends.native.library import Family
from torchlite.backends.native.windows import pairs

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]

HEADERS = (
    "bfloat16.h", "bfloat16_convolution.h", "bfloat16_ahead.h", "bfloat16_positions.h", "bfloat16_residues.h",
    "bfloat16_weight_grad.h", "bfloat16_weight_grad_nhwc.h", "bfloat16_weight_grad_rows.h", "bfloat16_geometry.h",
)  # fmt: skip

C = Family(
    "mathematics.h", "vectors.h", *HEADERS, "bfloat16_convolution.c",
    apart=[("convolution", "input_grad", "weight_grad")],
    convolution="aaaaa->i", input_grad="aaaa->i", weight_grad="aaaa->i", scratch="an->n",
    fills="->n",
)  # fmt: skip

_MOST_TAPS = 16  # rows and columns of a window
_FEWEST_POSITIONS = 16  # of a window: with fewer, products of columns copied out are faster


def handles(window: Any, groups: int) -> bool:
    """Whether there are kernels for such a window."""
    return groups == 1 and window.ndim <= 2 and max(window.kernel) <= _MOST_TAPS


def fills() -> bool:
    """Whether kernels can be given what makes the rows of their sources: where there are no tile registers."""
    return bool(C.fills())


def _worth_it(window: Any, groups: int, positions: Shape, *arrays: Array) -> bool:
    return (
        handles(window, groups)
        and math.prod(positions) >= _FEWEST_POSITIONS
        and all(array.dtype == BFLOAT16 and array.size for array in arrays)
    )


def _steps(array: Array) -> list[int]:
    """What `Geometry` says of an array (N, C, [H,] W)."""
    steps = [step // array.itemsize for step in array.strides]
    return [1, *(steps if array.ndim == 4 else (*steps[:2], 0, steps[2]))]


def geometry(x: Array, y: Array, window: Any) -> Array:
    """What ``Bf16Geometry`` holds in C of a convolution of x to y, or of arrays that lie as these."""
    sizes = [(*a.shape[1:2], *(a.shape[2:] if a.ndim == 4 else (1, a.shape[2]))) for a in (x, y)]
    return np.array([len(x), *sizes[0], *sizes[1], *pairs(window), *_steps(x), *_steps(y), 1], np.int64)


def convolution(x: Array, weight: Array, *bias: Array, window: Any, groups: int) -> Array | None:
    """The convolution of x (N, C, *) with a weight (O, C, *), plus a bias (O,)."""
    size = window.out_size("convolution", x.shape[2:])
    if not _worth_it(window, groups, size, x, weight, *bias) or x.shape[1] != weight.shape[1]:
        return None
    out = np.empty((len(x), len(weight), *size), x.dtype)
    b = np.ascontiguousarray(bias[0]) if bias else None
    return out if C.convolution(x, np.ascontiguousarray(weight), b, out, geometry(x, out, window)) else None


def input_grad(g: Array, weight: Array, *, window: Any, groups: int, size: Shape) -> Array | None:
    """The cotangent of x, of ``size`` after its channels."""
    if not _worth_it(window, groups, g.shape[2:], g, weight) or g.shape[1] != weight.shape[0] or 0 in size:
        return None
    out = np.empty((len(g), weight.shape[1], *size), g.dtype)
    return out if C.input_grad(g, np.ascontiguousarray(weight), out, geometry(out, g, window)) else None


def weight_grad(x: Array, g: Array, *, window: Any, groups: int) -> Array | None:
    """The cotangent of the weight."""
    if not _worth_it(window, groups, g.shape[2:], x, g):
        return None
    out = np.empty((g.shape[1], x.shape[1], *window.kernel), x.dtype)
    return out if C.weight_grad(x, g, out, geometry(x, g, window)) else None
