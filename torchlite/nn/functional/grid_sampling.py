"""Sampling at given points: ``grid_sample``, and the grids of affine maps."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Sequence
from typing import Any

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.autocasting import autocasts
from torchlite.ir import Autocast
from torchlite.nn.functional.interpolation import cubic_weights
from torchlite.ops.arithmetic import remainder, where
from torchlite.ops.creation import arange, linspace, ones
from torchlite.ops.joining import cat, stack
from torchlite.ops.pointwise import floor, round

_MODES = ("bilinear", "nearest", "bicubic")
_PADDING_MODES = ("zeros", "border", "reflection")


def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """``input`` at the points of ``grid``, interpolated.

    Args:
        input, grid: see Shape.
        mode: "bilinear" (trilinear in three dimensions), "nearest" or "bicubic" (two dimensions only).
        padding_mode: what lies outside: "zeros", "border" (the nearest element) or "reflection".
        align_corners: whether -1 and 1 are the centres of the corner elements, or the outer edges of their areas.

    Shape:
        - input: (N, C, H, W) or (N, C, D, H, W)
        - grid: (N, H', W', 2) or (N, D', H', W', 3), coordinates (x, y) or (x, y, z) that reach from -1 to 1
        - result: (N, C, H', W') or (N, C, D', H', W')

    Raises:
        ValueError: for an unknown mode.
        RuntimeError: for shapes or dtypes that do not fit.
    """
    if mode not in _MODES:
        raise ValueError(f"nn.functional.grid_sample(): expected mode to be one of {list(_MODES)}, but got: {mode!r}")
    if padding_mode not in _PADDING_MODES:
        raise ValueError(
            f"nn.functional.grid_sample(): expected padding_mode to be one of {list(_PADDING_MODES)}, but got: "
            f"{padding_mode!r}"
        )
    if align_corners is None:
        _warn_of_default("grid_sample")
    return grid_sampler(input, grid, _MODES.index(mode), _PADDING_MODES.index(padding_mode), bool(align_corners))


def _warn_of_default(name: str) -> None:
    warnings.warn(
        f"{name}: align_corners is False since it was not given; older versions of PyTorch took True. Give it to be sure.",
        UserWarning,
        stacklevel=3,
    )


@autocasts(Autocast(cpu="float32", cuda="widest"))
def grid_sampler(
    input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Tensor:
    """`grid_sample` with modes by number, in the order in which its documentation lists them."""
    n = input.ndim - 2
    if n not in (2, 3) or grid.ndim != input.ndim or grid.shape[0] != input.shape[0] or grid.shape[-1] != n:
        raise RuntimeError(
            "grid_sampler(): expected input (N, C, *) with two or three spatial dimensions and grid (N, *, 2 or 3) of the "
            f"same batch, but got input {list(input.shape)} and grid {list(grid.shape)}"
        )
    if input.dtype is not grid.dtype:
        raise RuntimeError(
            f"grid_sampler(): expected input and grid to have same dtype, but input has {input.dtype} and grid has "
            f"{grid.dtype}"
        )
    if 0 in input.shape[1:]:
        raise RuntimeError(f"grid_sampler(): expected input to have non-empty dimensions, got {list(input.shape)}")
    mode, outside = _MODES[interpolation_mode], _PADDING_MODES[padding_mode]
    if mode == "bicubic" and n == 3:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")
    size = tuple(input.shape[2:])
    # x is the last dimension of the input, and the first coordinate.
    points = [grid[..., n - 1 - d].reshape(-1) for d in range(n)]
    points = [_unnormalized(p, m, align_corners) for p, m in zip(points, size, strict=True)]
    taps = [_taps(p, m, mode, outside, align_corners) for p, m in zip(points, size, strict=True)]

    rows = input.permute(0, *range(2, input.ndim), 1).reshape(-1, input.shape[1])  # (N · elements, C)
    # What lies outside is a row of zeros: a product with a zero weight would spread NaN.
    rows, nothing = cat([rows, rows.new_zeros((1, rows.shape[1]))]), rows.shape[0]
    lead = arange(input.shape[0], device=input.device).unsqueeze(1).expand(input.shape[0], grid[0, ..., 0].numel())
    total: Any = None
    for corner in itertools.product(*taps):
        place, weight = lead.reshape(-1), None
        inside: Any = True
        for m, (index, factor) in zip(size, corner, strict=True):
            within = (index >= 0) & (index < m)
            inside = within & inside
            place = place * m + index.to(dtypes.int64).clamp(0, m - 1)
            weight = factor if weight is None or factor is None else weight * factor
        part = rows[where(inside, place, nothing)]
        part = part if weight is None else part * weight.unsqueeze(1)
        total = part if total is None else total + part
    out = total.reshape((*grid.shape[:-1], input.shape[1]))  # (N, *, C)
    return out.permute(0, out.ndim - 1, *range(1, out.ndim - 1))


grid_sampler_2d = grid_sampler_3d = grid_sampler


def _unnormalized(x: Tensor, n: int, align_corners: bool) -> Tensor:
    """From [-1, 1] to positions of elements."""
    return (x + 1) * ((n - 1) / 2) if align_corners else ((x + 1) * n - 1) / 2


def _taps(x: Tensor, n: int, mode: str, outside: str, align_corners: bool) -> list[tuple[Tensor, Tensor | None]]:
    """The elements along one dimension that points at ``x`` take part of, with their weights."""
    if mode == "bicubic":
        low = floor(x.detach())
        return [
            (_inside(low + (k - 1), n, outside, align_corners), weight)
            for k, weight in enumerate(cubic_weights(x - low))
        ]
    x = _inside(x, n, outside, align_corners)
    if mode == "nearest":
        return [(round(x.detach()), None)]
    low = floor(x.detach())
    above = x - low
    return [(low, 1 - above), (low + 1, above)]


def _inside(x: Tensor, n: int, outside: str, align_corners: bool) -> Tensor:
    """Positions moved into [0, n - 1] by the padding mode; where the border holds them, their slope is 0."""
    if outside == "zeros":
        return x
    if outside == "reflection":
        x = _reflected(x, 0.0, n - 1.0) if align_corners else _reflected(x, -0.5, n - 0.5)
    return where((x > 0) & (x < n - 1), x, x.detach().clamp(0, n - 1))


def _reflected(x: Tensor, low: float, high: float) -> Tensor:
    span = high - low
    if span == 0:
        return x.new_zeros(x.shape)
    distance = (x - low).abs()
    turns = floor(distance.detach() / span)
    extra = distance - turns * span
    return where(remainder(turns, 2) == 0, extra + low, (span + low) - extra)


def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """The points at which `grid_sample` gives an affine map of its input.

    Args:
        theta: matrices (N, 2, 3) or (N, 3, 4), applied to the coordinates (x, y, 1) or (x, y, z, 1) of the result.
        size: of the result, (N, C, H, W) or (N, C, D, H, W).
        align_corners: as in `grid_sample`.

    Shape:
        - result: (N, H, W, 2) or (N, D, H, W, 3)

    Raises:
        ValueError: for matrices of another shape or dtype.
    """
    n = len(size) - 2
    if not theta.is_floating_point():
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    if n not in (2, 3):
        raise RuntimeError(
            f"affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms; got {list(size)}"
        )
    if tuple(theta.shape[1:]) != (n, n + 1) or theta.ndim != 3:
        raise ValueError(
            f"Expected a batch of {n}D affine matrices of shape Nx{n}x{n + 1} for size {list(size)}. Got {list(theta.shape)}"
        )
    if min(size) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {list(size)}")
    if align_corners is None:
        _warn_of_default("affine_grid")
    space = tuple(size[2:])
    axes = []
    for d in reversed(range(n)):
        along = _centred(space[d], bool(align_corners), theta)
        axes.append(along.reshape([-1 if e == d else 1 for e in range(n)]).expand(space))
    points = stack([*axes, ones(space, dtype=theta.dtype, device=theta.device)], -1)  # (*, n + 1)
    out = points.reshape(1, math.prod(space), n + 1) @ theta.transpose(1, 2)
    return out.reshape((theta.shape[0], *space, n))


def _centred(n: int, align_corners: bool, like: Tensor) -> Tensor:
    """``n`` points from -1 to 1, or the centres of ``n`` areas that fill that range."""
    if n == 1:
        return like.new_zeros(1)
    points = linspace(-1, 1, n, dtype=like.dtype, device=like.device)
    return points if align_corners else points * ((n - 1) / n)


def affine_grid_generator(theta: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """`affine_grid` by the name of its operator."""
    return affine_grid(theta, size, align_corners)
