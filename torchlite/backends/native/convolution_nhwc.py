"""C text of single convolutions of arrays (N, H, W, C), with all sizes in it as constants.

A kernel is three things: a text that defines a static function, to be compiled behind ``parallel.h``, ``vectors.h`` and
``convolution_nhwc.h``; the order of its arguments; and how much scratch memory it wants. All depend on sizes alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

MOST_DOWN, MOST_ACROSS = 16, 7
"""The largest windows that there are kernels for."""

HEADER = "convolution_nhwc.h"

SHARES = 16
"""Into how many the work is divided, where there is so much."""

_COPY = 1 << 18  # bytes of a source that lie in a second-level cache beside the rest
_NEAR = 36 << 10  # bytes of a source and a gradient that lie in a first-level cache while all weights pass by
_WEIGHTS = 1 << 19  # numbers that partial sums of weights may take altogether


class Axis(NamedTuple):
    """How results read sources along a dimension: q * by = o * step + k * dilation + shift, as in C."""

    taps: int
    step: int
    by: int
    dilation: int
    shift: int

    def reads(self, results: int) -> tuple[int, int]:
        """The first and the last source, there or not, that results 0 to ``results - 1`` read."""
        reach = (self.taps - 1) * self.dilation
        first = -(-(min(reach, 0) + self.shift) // self.by)
        return first, ((results - 1) * self.step + max(reach, 0) + self.shift) // self.by


class Kernel(NamedTuple):
    """A function in C, ``scratch`` the numbers of float32 that it wants, ``band`` the rows of a result that one thread does."""

    text: str
    scratch: int
    band: int = 0


Sizes = tuple[int, int, int, int]
"""Samples, height, width and channels."""


class Sum(NamedTuple):
    """What a convolution computes, and the gradient of its input, too: sums of products of what a window meets and its weight."""

    source: Sizes
    result: Sizes
    axes: tuple[Axis, Axis]
    """How results read sources, down and across."""
    weight_steps: tuple[int, int]
    """Between the weight's numbers for neighbouring results, and for neighbouring channels of the source."""


def dense(sizes: Sizes) -> Sizes:
    """The distances between numbers of an array (N, H, W, C) without gaps."""
    _, height, width, channels = sizes
    return height * width * channels, width * channels, channels, 1


def handles(window: Any, groups: int) -> bool:
    """Whether there are kernels for such a window."""
    return groups == 1 and window.ndim == 2 and window.kernel[0] <= MOST_DOWN and window.kernel[1] <= MOST_ACROSS


def convolution(x: Sizes, out: Sizes, window: Any) -> Sum:
    """A convolution with a weight (O, I, kh, kw).

    Args:
        x: sizes of the input.
        out: sizes of the result.
        window: kernel, stride, padding and dilation.
    """
    taps = math.prod(window.kernel)
    return Sum(x, out, forward_axes(window), (x[3] * taps, taps))


def input_grad(g: Sizes, x: Sizes, window: Any) -> Sum:
    """The gradient of the input x of such a convolution, from g, the cotangent of its result."""
    taps = math.prod(window.kernel)
    return Sum(g, x, backward_axes(window), (taps, x[3] * taps))


def kernel(name: str, of: Sum, steps: Sizes | None = None) -> Kernel:
    """``name(source, weight, bias, result, scratch, finish, fill)``, whose bias may be NULL.

    Args:
        name: of the function.
        of: what it computes.
        steps: between numbers of the source, which has no gaps if None; the result has none.
    """
    fields, scratch, band = geometry(of.source, of.result, of.axes, steps or dense(of.source))
    text = f"CONVOLUTION({name}, {of.weight_steps[0]}, {of.weight_steps[1]}, {fields})\n"
    return Kernel(text, scratch + packed(of.source[3], of.result[3], of.axes[0].taps * of.axes[1].taps), band)


def weight_grad(
    name: str, x: Sizes, g: Sizes, window: Any, steps: Sizes | None = None, *, filled: bool = False
) -> Kernel:
    """``name(x, g, weight, scratch, fill)``: the cotangent of the weight, where g has no gaps.

    If ``filled``, rows of the input are computed, and x is an array of the same sizes that is only fetched ahead.
    """
    down, across = forward_axes(window)
    weights = packed(x[3], g[3], down.taps * across.taps)
    shares = shares_of_weights(weights)
    most = max(_NEAR // 4 // (x[2] * x[3] * across.step + g[2] * g[3]), 2)
    band = -(-g[1] // -(-g[1] // most))  # all about as large
    fields, scratch, _ = geometry(
        x, g, (down, across), steps or dense(x), shares=shares, band=band, again=True, filled=filled
    )
    return Kernel(f"WEIGHT_GRADIENT({name}, {fields})\n", scratch + shares * weights)


def shares_of_weights(size: int) -> int:
    """Into how many the sum that is the gradient of a weight of that size is divided, at most."""
    shares = SHARES
    while shares > 4 and shares * size > _WEIGHTS:
        shares //= 2
    return shares


def forward_axes(window: Any) -> tuple[Axis, Axis]:
    """How windows read down and across."""
    down, across = (
        Axis(taps, stride, 1, dilation, -padding)
        for taps, stride, padding, dilation in zip(
            window.kernel, window.stride, window.padding, window.dilation, strict=True
        )
    )
    return down, across


def backward_axes(window: Any) -> tuple[Axis, Axis]:
    """How the gradient of an input reads that of the result."""
    down, across = (Axis(axis.taps, 1, axis.step, -axis.dilation, -axis.shift) for axis in forward_axes(window))
    return down, across


def packed(channels: int, results: int, taps: int) -> int:
    """Numbers of packed weights, whatever vectors the processor has."""
    return channels * taps * -(-results // 32) * 32


def geometry(
    source: Sizes,
    result: Sizes,
    axes: tuple[Axis, Axis],
    steps: Sizes,
    *,
    shares: int = SHARES,
    band: int | None = None,
    copies: bool = True,
    again: bool = False,
    filled: bool = False,
    woven: int = 1,
    high: int = 1,
    more: int = 0,
) -> tuple[str, int, int]:
    """The fields of ``Convolution`` in C, the scratch that all shares take (copied rows, and a row of results), and the band.

    Args:
        source: its sizes.
        result: its sizes.
        axes: how it reads, down and across.
        steps: between numbers of the source.
        shares: into which the work is divided, at most.
        band: rows of the result at a time, at most.
        copies: whether rows are copied where zeros have to lie beside them.
        again: whether the rows of a band are gone through more than once.
        filled: whether rows are computed.
        woven: samples that are computed together.
        high: rows that are.
        more: scratch that a share takes besides.
    """
    down, across = axes
    samples, height, width, channels = source
    _, rows, columns, results = result
    first, last = across.reads(columns)
    left = max(-first, 0)
    padded = left + max(width, last + 1)
    copies = filled or (copies and (padded != width or steps[1:] != dense(source)[1:]))
    # Bands are short where samples are large, or so few that they alone would not make enough shares.
    fitting = _COPY // (4 * padded * channels) * down.by // down.step
    strips = -(-samples // woven)
    band = min(band or rows, rows, max(fitting, 1), -(-rows // -(-shares // strips)))
    band = min(-(-band // high) * high, rows)
    span = (((band if again else 1) - 1) * down.step + (down.taps - 1) * abs(down.dilation)) // down.by + 1
    copied = min(span, height) if copies else 0
    shares = min(shares, strips * -(-rows // band))
    fields = (*source, *result[1:], braces(down), braces(across), *steps, band, copied, left, padded, shares)
    return braces(fields), shares * (copied * padded * channels + columns * results + more), band


def braces(fields: Iterable[object]) -> str:
    """The initializer of a struct."""
    return "{" + ", ".join(map(str, fields)) + "}"
