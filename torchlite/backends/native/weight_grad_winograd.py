"""C text of gradients of convolutions' weights by Winograd's F(2, 3), along rows (``weight_grad_winograd.h``) or nested in itself
(``weight_grad_squares.h``).
"""

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

HEADERS = (*weight_grad_tiles.HEADERS, "winograd.h", "weight_grad_winograd.h", "weight_grad_squares.h")

_PLANES = 4
_TAPS = 3  # across
_CHANNELS = 8  # that are worth transforming gradients
_RESULTS = 4  # that are worth transforming the input
_WORK = 7 << 20  # multiplications that are worth it altogether
_PLANE = 18 << 10  # numbers of a plane of both sides, which lie in a cache while its products pass by
_PAIRS = 32  # products that are added up before their sum is added to what a cache has
_LARGE, _PAIRS_OF_LARGE = 1 << 20, 128  # the same for so many sums that they lie in memory
_FEW_RESULTS = 16  # for which nesting transforms more than it saves
_MOST_SUMS = 1 << 19  # of squares, more of which pass through caches for longer than products are fewer
_GAP = 80  # numbers behind a plane of squares, as in C


def weight_grad(
    name: str, x: Sizes, g: Sizes, window: Any, steps: Sizes | None = None, *, filled: bool = False
) -> Kernel:
    """As that of ``weight_grad_tiles`` where the processor has tile registers, and else by Winograd where that is faster."""
    direct = weight_grad_tiles.weight_grad(name, x, g, window, steps, filled=filled)
    if chosen := squares(x, g, window):
        made = of_squares(name, x, g, window, chosen, steps)
    elif chosen := strip(x, g, window):
        made = of_strips(name, x, g, window, chosen, steps)
    else:
        return direct
    return Kernel(f"#ifdef __AMX_BF16__\n{direct.text}#else\n{made.text}#endif\n", max(made.scratch, direct.scratch))


def of_strips(
    name: str, x: Sizes, g: Sizes, window: Any, chosen: tuple[int, int], steps: Sizes | None = None
) -> Kernel:
    """Along rows, with so many rows of the input and samples transformed at a time."""
    rows, together = chosen
    (samples, height, width, channels), (_, of_result, columns, results), taps = x, g, window.kernel[0]
    sums = _PLANES * packed(channels, results, taps)
    strips = -(-samples // together) * -(-height // rows)
    shares = min(shares_of_weights(sums), strips)
    fields, _, _ = geometry(x, g, forward_axes(window), steps or dense(x), shares=shares, band=1)
    of_rows = rows * channels + min(rows + taps - 1, of_result) * packed(1, results, 1)
    scratch = sums + width * channels + _PLANES * together * -(-columns // 2) * of_rows
    return Kernel(f"WEIGHT_GRADIENT_BY_WINOGRAD({name}, {rows}, {together}, {fields})\n", shares * scratch)


def of_squares(
    name: str, x: Sizes, g: Sizes, window: Any, chosen: tuple[int, int], steps: Sizes | None = None
) -> Kernel:
    """Nested, with so many pairs of rows of the result, and samples, transformed at a time."""
    rows, together = chosen
    (samples, _, width, channels), (_, of_result, columns, results) = x, g
    sums, pairs = _PLANES**2 * packed(channels, results, 1), -(-columns // 2)
    shares = min(shares_of_weights(sums), -(-samples // together) * -(-_pairs(of_result) // rows))
    fields, _, _ = geometry(x, g, forward_axes(window), steps or dense(x), shares=shares, band=1)
    of_planes = together * rows * pairs * (channels + packed(1, results, 1)) + 2 * _GAP
    scratch = sums + width * channels + (1 + _PLANES) * _PLANES * pairs * channels + _PLANES**2 * of_planes
    return Kernel(f"WEIGHT_GRADIENT_BY_SQUARES({name}, {rows}, {together}, {fields})\n", shares * scratch)


def squares(x: Sizes, g: Sizes, window: Any) -> tuple[int, int] | None:
    """Pairs of rows of the result, and samples, that are transformed at a time; None where sums along rows, or direct ones, are better."""
    (samples, _, _, channels), (_, rows, columns, results) = x, g
    sums, pairs, down = _PLANES**2 * channels * results, _pairs(columns), _pairs(rows)
    if not _pays(x, g, window) or results <= _FEW_RESULTS or sums > _MOST_SUMS:
        return None
    if window.kernel[0] != _TAPS or not _fill_pairs(rows):
        return None
    shares = shares_of_weights(sums)
    strips = max(min(down // -(-_PAIRS // pairs), down), -(-shares // samples), 1)
    high = -(-down // strips)
    together = max(min(_PAIRS // (down * pairs), samples // shares), 1) if high == down else 1
    return (high, together) if 2 * high * pairs * together >= _PAIRS else None


def strip(x: Sizes, g: Sizes, window: Any) -> tuple[int, int] | None:
    """Rows of the input, and samples, that are transformed at a time; None where direct sums are better."""
    (samples, height, _, channels), (_, _, columns, results) = x, g
    if not _pays(x, g, window):
        return None
    taps, pairs = window.kernel[0], _pairs(columns)
    sums = _PLANES * taps * channels * results
    wanted = _PAIRS_OF_LARGE if sums > _LARGE else _PAIRS
    shares = shares_of_weights(sums)
    # As many rows as lie in the cache, but all that come together in enough products, and fewer where samples are few.
    fitting = max(_PLANE // (pairs * (channels + results)) - taps + 1, -(-wanted // pairs))
    fitting = min(fitting, -(-height // -(-shares // samples)))
    rows = -(-height // -(-height // max(fitting, 1)))
    together = max(min(wanted // (height * pairs), samples // shares), 1) if rows == height else 1
    return (rows, together) if 2 * rows * pairs * together >= wanted else None


def _pays(x: Sizes, g: Sizes, window: Any) -> bool:
    """Whether transforming along rows does."""
    (_, _, _, channels), (_, _, columns, results) = x, g
    plain = window.kernel[1] == _TAPS and {*window.stride, *window.dilation} == {1}
    work = math.prod(g) * channels * math.prod(window.kernel)
    return plain and channels >= _CHANNELS and results >= _RESULTS and _fill_pairs(columns) and work >= _WORK


def _pairs(count: int) -> int:
    return -(-count // 2)


def _fill_pairs(count: int) -> bool:
    """Whether products are saved although one of a pair may be missing."""
    return 5 * count >= 8 * _pairs(count)
