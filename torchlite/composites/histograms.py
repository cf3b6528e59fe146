"""Histograms over one dimension and over several at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from torchlite import backends, return_types
from torchlite._tensor import Tensor, method, wrap
from torchlite.composites.searching import bucketize
from torchlite.integers import takes_integers
from torchlite.ops.arithmetic import where
from torchlite.ops.creation import linspace
from torchlite.ops.destination import OutDtype, takes_out_as
from torchlite.ops.joining import stack


@takes_out_as(OutDtype.SAME)
@method()
@takes_integers
def histogram(
    input: Tensor,
    bins: Any,
    *,
    range: Sequence[float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> return_types.Results:
    """How many elements (or what total of their weights) fall into each bin, and the edges of the bins.

    Args:
        input: numbers of any shape; those outside all bins are left out.
        bins: how many, of equal width, or a vector of their increasing edges. The last bin has both its edges.
        range: the outer edges; by default the smallest and the largest element.
        weight: one for each element.
        density: whether to divide by the total and the width of the bin.

    Returns:
        (hist, bin_edges), both of the input's dtype.

    Raises:
        RuntimeError: for an input that is not floating-point, and for bins, range or weight that do not fit it.
    """
    points = input.reshape(-1, 1)
    weight = weight if weight is None else weight.reshape(-1)
    hist, (edges,) = _counted("histogram", points, [bins], range, weight, density)
    return return_types.histogram((hist, edges))


@takes_integers
def histogramdd(
    input: Tensor,
    bins: Any,
    range: Sequence[float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> return_types.Results:
    """The `histogram` of points with as many coordinates as ``input`` is long in its last dimension.

    Args:
        input: (..., D).
        bins: for each coordinate as in `histogram`; one number is for all of them.
        range: the outer edges of all coordinates, one pair after the other.
        weight: one for each point (...).
        density: whether to divide by the total and the volume of the bin.

    Returns:
        (hist, bin_edges): a tensor of D dimensions and a tuple of D vectors.
    """
    if input.ndim < 2:
        raise RuntimeError(f"histogramdd: input tensor should have at least 2 dimensions, got {input.ndim}")
    dims = input.shape[-1]
    bins = [bins] * dims if isinstance(bins, (int, np.integer)) else list(bins)
    if len(bins) != dims:
        raise RuntimeError(
            "histogramdd: the size of bins must be equal to the innermost dimension of the input, "
            f"got {len(bins)} and {dims}"
        )
    weight = weight if weight is None else weight.reshape(-1)
    hist, edges = _counted("histogramdd", input.reshape(-1, dims), bins, range, weight, density)
    return return_types.histogramdd((hist, tuple(edges)))


def _counted(
    name: str, points: Tensor, bins: list[Any], range: Sequence[float] | None, weight: Tensor | None, density: bool
) -> tuple[Tensor, list[Tensor]]:
    """The histogram of points (N, D) and its D vectors of edges."""
    if not points.is_floating_point():
        raise RuntimeError(f"{name} is not implemented for {points.dtype}")
    if weight is not None and weight.numel() != points.shape[0]:
        raise RuntimeError(f"{name}: weight has {weight.numel()} elements for {points.shape[0]} points")
    if range is not None and len(range) != 2 * len(bins):
        raise RuntimeError(f"{name}: range should have {2 * len(bins)} elements, got {len(range)}")
    points = points.detach()
    edges = [
        _edges(name, points.select(1, d), given, None if range is None else range[2 * d : 2 * d + 2])
        for d, given in enumerate(bins)
    ]
    lengths = [e.numel() - 1 for e in edges]
    flat, inside = 0, points.new_ones(points.shape[0]).bool()
    for d, (e, n) in enumerate(zip(edges, lengths, strict=True)):
        x = points.select(1, d).contiguous()
        place = bucketize(x, e, right=True) - 1
        place = where(x == e[-1], n - 1, place)
        inside = inside & (x >= e[0]) & (x <= e[-1])
        flat = flat * n + place
    counts = points.new_ones(points.shape[0]) if weight is None else weight.detach().to(points.dtype)
    hist = points.new_zeros(math.prod(lengths)).index_add(0, flat[inside], counts[inside])  # type: ignore[index]
    hist = hist.reshape(lengths)
    if density:
        hist = hist / hist.sum()
        for d, e in enumerate(edges):
            hist = hist / e.diff().reshape([n if i == d else 1 for i, n in enumerate(lengths)])
    return hist, edges


def _edges(name: str, x: Tensor, bins: Any, range: Sequence[float] | None) -> Tensor:
    if isinstance(bins, Tensor):
        if bins.ndim != 1:
            raise RuntimeError(f"{name}: a tensor of bins should have one dimension, but got {bins.ndim}")
        if bins.dtype is not x.dtype:
            raise RuntimeError(f"{name}: input and bins should have the same dtype, got {x.dtype} and {bins.dtype}")
    n = bins.numel() - 1 if isinstance(bins, Tensor) else bins
    if n <= 0:
        raise RuntimeError(f"{name}: bins must be > 0, but got {n}")
    if isinstance(bins, Tensor):
        return bins
    if range is not None:
        low, high = range
    elif x.numel():
        low, high = stack(x.aminmax()).tolist()
    else:
        low, high = 0.0, 1.0
    if low > high:
        raise RuntimeError(f"{name}: min should not exceed max, but got min {low} max {high}")
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RuntimeError(f"{name}: the range [{low}, {high}] is not finite")
    if low == high:
        low, high = low - 0.5, high + 0.5
    return linspace(low, high, n + 1, dtype=x.dtype, device=x.device)


@takes_out_as(OutDtype.SAME)
@method()
@takes_integers
def histc(input: Tensor, bins: int = 100, min: Any = 0, max: Any = 0) -> Tensor:
    """How many elements fall into each of ``bins`` equal parts of [min, max]; of the data's range where both are equal.

    Raises:
        RuntimeError: for no bins, or ``min`` above ``max``.
    """
    if bins <= 0:
        raise RuntimeError(f"torch.histc: bins must be > 0, got {bins}")
    if min > max:
        raise RuntimeError(f"torch.histc: max must be larger than min, got min {min} and max {max}")
    data = input.detach().reshape(-1)._data
    xp = backends.array_module(data)
    low, high = min, max
    if low == high and data.size:
        low, high = data.min().item(), data.max().item()
    if low == high:
        low, high = low - 1, high + 1
    inside = data[(data >= low) & (data <= high)]
    places = ((inside - low) / (high - low) * bins).astype("int64").clip(0, bins - 1)
    return wrap(xp.bincount(places, minlength=bins).astype(data.dtype))
