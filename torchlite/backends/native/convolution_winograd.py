"""C text of single convolutions of stride 1 with three taps across, and of their inputs' gradients, by Winograd's filtering: as in
``convolution_nhwc.py``.
"""

from __future__ import annotations

import math

from torchlite.backends.native.convolution_nhwc import HEADER as PLAIN
from torchlite.backends.native.convolution_nhwc import SHARES, Kernel, Sizes, Sum, dense, geometry, packed

HEADERS = (PLAIN, "winograd.h", "convolution_winograd.h")

_TAPS = 3
_PLANES = 4
_PAIRS = 8, 13  # of results: as many as a tile of several samples should have, and can have whatever the processor
_MOST_WOVEN = 8  # samples, as in C
_USES = 96, 512  # of a weight, from which on it is transformed along rows, and along both dimensions
_SAVED = 0.87  # of the multiplications, so many are not too many
_KEPT = 6 * 16 * 2 * 16  # numbers of a tile that wait for the rest, at most
_RESULTS = 4  # from which on a transformed number is of use often enough
_CHANNELS = 8  # from which on transforms take less than they save


def pays(of: Sum) -> bool:
    """Whether a sum is one of three neighbours across, and is faster by products of their transforms."""
    across = of.axes[1]
    return (
        all(axis.step == axis.by == 1 for axis in of.axes)
        and (across.taps, abs(across.dilation)) == (_TAPS, 1)
        and of.source[3] >= _CHANNELS
        and of.result[3] >= _RESULTS
        and _positions(of.result) >= _USES[0]
    )


def kernel(name: str, of: Sum, steps: Sizes | None = None) -> Kernel:
    """As in ``convolution_nhwc.py``."""
    source, result, axes, weight_steps = of
    _, height, width, channels = source
    samples, _, columns, results = result
    down, woven, high = axes[0], _woven(samples, columns), _high(of)
    rows = min((down.taps - 1) * abs(down.dilation) + 1, height) + high - 1
    slot = _PLANES * woven * -(-columns // 2) * channels
    copies, planes = (rows * woven, _PLANES) if high == 2 else (1, rows)
    each = channels + copies * width * channels + planes * slot + _KEPT + high * woven * columns * results
    # Rows of woven samples are rather not divided: at the edges of bands some would be transformed twice.
    shares = max(min(samples // woven, SHARES), SHARES // 2) if woven > 1 else SHARES
    fields, scratch, band = geometry(
        source, result, axes, steps or dense(source), shares=shares, woven=woven, high=high, filled=True, more=each
    )
    text = ", ".join([name, *map(str, (*weight_steps, woven, high)), fields])
    weights = _PLANES * packed(channels, results, _PLANES if high == 2 else down.taps)
    return Kernel(f"CONVOLUTION_BY_WINOGRAD({text})\n", scratch + weights, band)


def _high(of: Sum) -> int:
    """How many rows are computed at once: two, whose taps down are transformed, too, where that saves multiplications enough.

    It multiplies also by zeros in place of rows that are not there, which single rows leave out.
    """
    source, result, (down, _), _ = of
    if (down.taps, abs(down.dilation)) != (_TAPS, 1) or _positions(result) < _USES[1]:
        return 1
    shifts = [tap * down.dilation + down.shift for tap in range(_TAPS)]
    met = sum(0 <= row + shift < source[1] for row in range(result[1]) for shift in shifts)
    return 2 if _PLANES * -(-result[1] // 2) <= _SAVED * met else 1


def _positions(result: Sizes) -> int:
    return math.prod(result[:3])


def _woven(samples: int, columns: int) -> int:
    """How many samples make a tile: where rows are short some, of which none is missing in the last one, if that can be."""
    across = -(-columns // 2)
    most = min(_PAIRS[1] // across, _MOST_WOVEN, samples)
    if across >= _PAIRS[0] or most < 2:
        return 1
    whole = [n for n in range(most, 0, -1) if samples % n == 0 and n * across >= _PAIRS[0]]
    return whole[0] if whole else most
