"""C text of gradients of convolutions' weights by Winograd's F(2, 3): ``weight_grad_winograd.h`` describes what is chosen here."""

from __future__ import annotations

import math
from typing import Any

from torchlite.backends.native import weight_grad_tiles
from torchlite.backends.native.convolution_nhwc import (
    Kernel,
    Sizes,
    dense,
    forward_axes,
    geometry,
    packed,
    shares_of_weights,
)

HEADERS = (*weight_grad_tiles.HEADERS, "winograd.h", "weight_grad_winograd.h")

_PLANES = 4
_TAPS = 3  # across
_CHANNELS = 8  # that are worth transforming gradients
_RESULTS = 4  # that are worth transforming the input
_WORK = 7 << 20  # multiplications that are worth it altogether
_PLANE = 18 << 10  # numbers of a plane of both sides, which lie in a cache while its products pass by
_PAIRS = 32  # products that are added up before their sum is added to what a cache has
_LARGE, _PAIRS_OF_LARGE = 1 << 20, 128  # the same for so many sums that they lie in memory


def weight_grad(
    name: str, x: Sizes, g: Sizes, window: Any, steps: Sizes | None = None, *, filled: bool = False
) -> Kernel:
    """As that of ``weight_grad_tiles`` where the processor has tile registers, and else by Winograd where that is faster."""
    direct = weight_grad_tiles.weight_grad(name, x, g, window, steps, filled=filled)
    chosen = strip(x, g, window)
    if chosen is None:
        return direct
    made = of_strips(name, x, g, window, chosen, steps)
    return Kernel(f"#ifdef __AMX_BF16__\n{direct.text}#else\n{made.text}#endif\n", max(made.scratch, direct.scratch))


def of_strips(
    name: str, x: Sizes, g: Sizes, window: Any, chosen: tuple[int, int], steps: Sizes | None = None
) -> Kernel:
    """By Winograd, with so many rows of the input and samples transformed at a time."""
    rows, together = chosen
    (samples, height, width, channels), (_, of_result, columns, results), taps = x, g, window.kernel[0]
    sums = _PLANES * packed(channels, results, taps)
    strips = -(-samples // together) * -(-height // rows)
    shares = min(shares_of_weights(sums), strips)
    fields, _, _ = geometry(x, g, forward_axes(window), steps or dense(x), shares=shares, band=1)
    of_rows = rows * channels + min(rows + taps - 1, of_result) * packed(1, results, 1)
    scratch = sums + width * channels + _PLANES * together * -(-columns // 2) * of_rows
    return Kernel(f"WEIGHT_GRADIENT_BY_WINOGRAD({name}, {rows}, {together}, {fields})\n", shares * scratch)


def strip(x: Sizes, g: Sizes, window: Any) -> tuple[int, int] | None:
    """Rows of the input, and samples, that are transformed at a time; None where direct sums are better."""
    (samples, height, _, channels), (_, _, columns, results) = x, g
    down, across = forward_axes(window)
    plain = across.taps == _TAPS and {*window.stride, *window.dilation} == {1}
    pairs = -(-columns // 2)
    work = math.prod(g) * channels * down.taps * across.taps
    if not plain or channels < _CHANNELS or results < _RESULTS or 5 * columns < 8 * pairs or work < _WORK:
        return None
    sums = _PLANES * down.taps * channels * results
    wanted = _PAIRS_OF_LARGE if sums > _LARGE else _PAIRS
    shares = shares_of_weights(sums)
    # As many rows as lie in the cache, but all that come together in enough products, and fewer where samples are few.
    fitting = max(_PLANE // (pairs * (channels + results)) - down.taps + 1, -(-wanted // pairs))
    fitting = min(fitting, -(-height // -(-shares // samples)))
    rows = -(-height // -(-height // max(fitting, 1)))
    together = max(min(wanted // (height * pairs), samples // shares), 1) if rows == height else 1
    return (rows, together) if 2 * rows * pairs * together >= wanted else None
