"""Resizing by interpolation.

All modes work along one dimension at a time: every element of the result is a weighted sum of a few elements of the
input, whose places and weights depend on the lengths alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from torchlite._tensor import Tensor
from torchlite.autocasting import autocasts
from torchlite.integers import takes_integers
from torchlite.ir import FLOAT32_ON_CUDA
from torchlite.nn.functional.adaptive_pooling import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d
from torchlite.ops.resampling import Array, Taps, resample

_NDIM = {"linear": 3, "bilinear": 4, "bicubic": 4, "lanczos": 4, "trilinear": 5}
_AREA = (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)
_SHARPNESS = -0.75  # the free parameter of the cubic kernel (Keys, 1981); with antialiasing it is -0.5


class Axis(NamedTuple):
    """How one dimension is resized."""

    length: int
    wanted: int
    align_corners: bool
    factor: float | None
    """The scale factor that was asked for, where it is to be used as it is."""
    kind: Any
    """NumPy's float type in which coordinates and weights are computed."""

    @property
    def scale(self) -> Any:
        """Distance in the input between neighbours of the result."""
        if self.align_corners:
            return self.kind(self.length - 1) / self.kind(self.wanted - 1) if self.wanted > 1 else self.kind(0)
        if self.factor is not None and self.factor > 0:
            return self.kind(1.0 / self.factor)
        return self.kind(self.length) / self.kind(self.wanted)

    @property
    def sources(self) -> Array:
        """Where in the input the elements of the result lie."""
        at = np.arange(self.wanted).astype(self.kind)
        return self.scale * at if self.align_corners else self.scale * (at + self.kind(0.5)) - self.kind(0.5)


def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """``input`` resized to ``size`` or by ``scale_factor``.

    Args:
        input: (N, C, *) with one to three spatial dimensions.
        size: an int or one for each spatial dimension.
        scale_factor: a number or one for each spatial dimension, instead of ``size``.
        mode: "nearest", "nearest-exact" or "area" for any number of dimensions; "linear" for one, "bilinear",
            "bicubic" and "lanczos" for two, "trilinear" for three.
        align_corners: whether the centres of the corner elements coincide, rather than the corners of their areas.
        recompute_scale_factor: use the scale between the rounded sizes instead of ``scale_factor`` itself.
        antialias: widen the kernel where the result is smaller, as Pillow does ("bilinear", "bicubic", "lanczos").

    Raises:
        ValueError: for arguments that exclude each other, or a size of another number of dimensions.
        RuntimeError: for a mode that the number of dimensions does not have.
    """
    n = input.ndim - 2
    if mode in ("nearest", "nearest-exact", "area") and align_corners is not None:
        raise ValueError(
            "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear"
        )
    wanted, factors = _size_and_factors(input, n, size, scale_factor, mode, recompute_scale_factor)
    if antialias and not (mode in ("bilinear", "bicubic", "lanczos") and input.ndim == 4):
        raise ValueError(
            "Anti-alias option is restricted to bilinear, bicubic, and lanczos modes and requires a 4-D tensor as input"
        )
    if mode == "lanczos" and (align_corners or not antialias):
        raise ValueError("Lanczos mode requires antialias=True and does not support align_corners=True")
    if mode not in ("nearest", "nearest-exact", "area", *_NDIM):
        raise RuntimeError(f"interpolate: unknown mode {mode!r}")
    if not 1 <= n <= 3 or _NDIM.get(mode, input.ndim) != input.ndim:
        raise RuntimeError(
            f"interpolate: Got {input.ndim}D input {list(input.shape)}, which mode {mode!r} does not have"
        )
    if 0 in input.shape[1:] or min(wanted) <= 0:
        raise RuntimeError(
            f"interpolate: Input and output sizes should be greater than 0, but got input {list(input.shape)} and output "
            f"{list(wanted)}"
        )
    if mode == "area":
        return _AREA[n - 1](input, wanted)
    return _resized(input, wanted, factors, mode, bool(align_corners), antialias)


@autocasts(FLOAT32_ON_CUDA)
def _resized(
    input: Tensor,
    wanted: Sequence[int],
    factors: Sequence[float | None],
    mode: str,
    align_corners: bool,
    antialias: bool,
) -> Tensor:
    n = input.ndim - 2
    taps = _antialiased(mode) if antialias else _nearest_of_plane if mode == "nearest" and n == 2 else _MODES[mode]
    kind = np.float64 if input._data.dtype == np.float64 else np.float32
    out = input
    for i, (m, factor) in enumerate(zip(wanted, factors, strict=True)):
        axis = Axis(out.shape[i + 2], m, align_corners, factor, kind)
        out = resample(out, i + 2, taps(axis))
    return out if out is not input else input.clone()


@takes_integers
def _size_and_factors(
    input: Tensor, n: int, size: Any, scale_factor: Any, mode: str, recompute: bool | None
) -> tuple[tuple[int, ...], Sequence[float | None]]:
    """The size of the result, and for each dimension the scale factor that counts instead of it."""
    if (size is None) == (scale_factor is None):
        raise ValueError(
            "either size or scale_factor should be defined" if size is None
            else "only one of size or scale_factor should be defined"
        )  # fmt: skip
    given = size if scale_factor is None else scale_factor
    what = "size" if scale_factor is None else "scale_factor"
    listed = tuple(given) if isinstance(given, Sequence) else (given,) * n
    if len(listed) != n:
        raise ValueError(
            f"Input and {what} must have the same number of spatial dimensions, but got input with spatial dimensions of "
            f"{list(input.shape[2:])} and {what} of {given}"
        )
    if scale_factor is None:
        if recompute:
            raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
        if not all(isinstance(m, int | np.integer) for m in listed):
            raise TypeError(f"expected size to be one of int or Tuple[int, ...], but got {given!r}")
        return tuple(int(m) for m in listed), (None,) * n
    wanted = tuple(int(m * factor) for m, factor in zip(input.shape[2:], listed, strict=True))
    return wanted, (None,) * n if recompute or mode == "area" else listed


def _nearest(axis: Axis) -> Taps:
    return _at(axis, np.float32(0))


def _nearest_of_plane(axis: Axis) -> Taps:
    """In two dimensions PyTorch keeps or doubles a length exactly, whatever the scale factor was."""
    whole, rest = divmod(axis.wanted, axis.length)
    if whole not in (1, 2) or rest:
        return _nearest(axis)
    return Taps(axis.length, np.arange(axis.wanted)[None] // whole, None)


def _nearest_exact(axis: Axis) -> Taps:
    return _at(axis, np.float32(0.5))


def _at(axis: Axis, shift: Any) -> Taps:
    scale = axis._replace(kind=np.float32).scale
    places = np.floor((np.arange(axis.wanted).astype(np.float32) + shift) * scale).astype(np.int64)
    return Taps(axis.length, np.minimum(places, axis.length - 1)[None], None)


def _linear(axis: Axis) -> Taps:
    if axis.length == axis.wanted:
        return Taps(axis.length, np.arange(axis.wanted)[None], None)
    sources = np.maximum(axis.sources, axis.kind(0))
    low = np.minimum(sources.astype(np.int64), axis.length - 1)
    above = np.clip(sources - low.astype(axis.kind), axis.kind(0), axis.kind(1))
    high = np.minimum(low + 1, axis.length - 1)
    return Taps(axis.length, np.stack([low, high]), np.stack([1 - above, above]))


def _cubic(axis: Axis) -> Taps:
    sources = axis.sources
    low = np.minimum(np.floor(sources).astype(np.int64), axis.length - 1)
    above = np.clip(sources - low.astype(axis.kind), axis.kind(0), axis.kind(1))
    places = np.clip(low + np.arange(-1, 3)[:, None], 0, axis.length - 1)
    return Taps(axis.length, places, np.stack(cubic_weights(above)))


def cubic_weights(t: Any) -> list[Any]:
    """Weights of the elements at -1, 0, 1 and 2 for a point at ``t`` in [0, 1], arrays or tensors."""
    return [
        _keys(1 + t, _SHARPNESS),
        _keys(t, _SHARPNESS, near=True),
        _keys(1 - t, _SHARPNESS, near=True),
        _keys(2 - t, _SHARPNESS),
    ]


def _keys(x: Any, a: float, *, near: bool = False) -> Any:
    """Keys' cubic kernel at distances from 0 to 1 (near) or from 1 to 2."""
    if near:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a


_MODES: dict[str, Callable[[Axis], Taps]] = {
    "nearest": _nearest,
    "nearest-exact": _nearest_exact,
    "linear": _linear,
    "bilinear": _linear,
    "trilinear": _linear,
    "bicubic": _cubic,
}


def _triangle(x: Array) -> Array:
    return np.maximum(1 - np.abs(x), 0)


def _soft_cubic(x: Array) -> Array:
    x = np.abs(x)
    return np.where(x < 1, _keys(x, -0.5, near=True), np.where(x < 2, _keys(x, -0.5), 0))


def _lanczos(x: Array) -> Array:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)


_KERNELS: dict[str, tuple[Callable[[Array], Array], int]] = {
    "bilinear": (_triangle, 1),
    "bicubic": (_soft_cubic, 2),
    "lanczos": (_lanczos, 3),
}


def _antialiased(mode: str) -> Callable[[Axis], Taps]:
    """Kernels that are as wide as the distance between elements of the result."""
    kernel, radius = _KERNELS[mode]

    def taps(axis: Axis) -> Taps:
        scale = axis.scale
        stretch = max(scale, axis.kind(1))
        support = radius * stretch
        centres = scale * (np.arange(axis.wanted).astype(axis.kind) + axis.kind(0.5))
        first = np.maximum((centres - support + axis.kind(0.5)).astype(np.int64), 0)
        last = np.minimum((centres + support + axis.kind(0.5)).astype(np.int64), axis.length)
        counts = np.clip(last - first, 0, math.ceil(support) * 2 + 1)
        within = np.arange(counts.max())[:, None]
        distances = (within + first - centres + axis.kind(0.5)) / stretch
        weights = np.where(within < counts, kernel(distances), 0)
        weights = (weights / weights.sum(0)).astype(axis.kind)
        return Taps(axis.length, np.minimum(first + within, first + counts - 1), weights)

    return taps


def upsample(
    input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
) -> Tensor:
    """`interpolate` by its older name."""
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """`interpolate` with the mode "nearest"."""
    return interpolate(input, size, scale_factor, "nearest")


def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """`interpolate` with the mode "bilinear" and aligned corners."""
    return interpolate(input, size, scale_factor, "bilinear", True)
