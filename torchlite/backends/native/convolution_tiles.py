"""C text of single convolutions of stride 1, and of their inputs' gradients, in tile registers: as in ``convolution_nhwc.py``."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from torchlite.backends.native.convolution_nhwc import HEADER as PLAIN
from torchlite.backends.native.convolution_nhwc import Axis, Kernel, Sizes, Sum, dense, geometry, packed

HEADERS = (PLAIN, "bfloat16.h", "split_float32.h", "convolution_tiles.h")

_TILE, _BLOCK = 16, 32  # positions of a tile; channels of a tile, and results of a block
_MOST_SLOTS = 64  # as in C
_ROWS = 192 << 10  # bytes that split rows may take, which lie in a second-level cache
_WEIGHTS = 1 << 20  # bytes that split weights may take, which do, too
_WORTH = 1 << 22  # multiplications from which on tile registers pay
_USES = 256, 512  # of a split number of the source, and of a weight, from which on splitting pays


class Weave(NamedTuple):
    """How positions become tiles, as in C: samples that are woven, rows at once, rows of lower tiles, and slots for split rows."""

    woven: int
    high: int
    lower: int
    slots: int


def pays(of: Sum) -> bool:
    """Whether a sum has sizes that tiles can be made of, and is faster in them."""
    (samples, _, _, channels), (_, rows, columns, results) = of.source, of.result
    taps, positions = of.axes[0].taps * of.axes[1].taps, samples * rows * columns
    return (
        all(axis.step == axis.by == 1 for axis in of.axes)
        and channels % _BLOCK == results % _BLOCK == 0
        and results * taps >= _USES[0]
        and positions >= _USES[1]
        and positions * channels * results * taps >= _WORTH
        and 6 * channels * results * taps <= _WEIGHTS
        and _weave(of) is not None
    )


def kernel(name: str, of: Sum, steps: Sizes | None = None) -> Kernel:
    """As in ``convolution_nhwc.py``, for scratch memory at a multiple of 64 bytes."""
    weave = _weave(of)
    assert weave is not None
    source, result, axes, weight_steps = of
    fields, scratch, band = geometry(source, result, axes, steps or dense(source), woven=weave.woven, high=weave.high)
    text = ", ".join([name, *map(str, (*weight_steps, *weave)), fields])
    weights = packed(source[3], result[3], axes[0].taps * axes[1].taps)
    return Kernel(f"CONVOLUTION_IN_TILES({text})\n", max(scratch, 3 * weights // 2) + weights, band)


def _weave(of: Sum) -> Weave | None:
    """The fewest woven samples whose rows are whole tiles, or two of which the lower one is lower; None where there are none."""
    source, result, axes, _ = of
    for woven in (1, 2, 4):
        whole, rest = divmod(woven * result[2], _TILE)
        if rest and whole != 1:
            continue
        high = 2 if whole % 2 and not rest else 1
        slots = _slots(source[1], result[1], axes[0], high)
        first, last = axes[1].reads(result[2])
        padded = max(-first, 0) + max(source[2], last + 1)
        fits = slots <= _MOST_SLOTS and (slots + 1) * woven * padded * source[3] * 6 <= _ROWS
        return Weave(woven, high, rest or _TILE, slots) if fits else None
    return None


def _slots(height: int, rows: int, down: Axis, high: int) -> int:
    """How many rows lie split while a step reads some and those of the next one, which may be of another strip, come beside."""
    reach = (down.taps - 1) * down.dilation
    reads = [
        (max(row + min(reach, 0) + down.shift, 0), min(row + high - 1 + max(reach, 0) + down.shift, height - 1))
        for row in range(0, rows, high)
    ]
    spans = [last - first + 1 for first, last in reads]
    return max(1, 2 * max(spans), *(then[1] - now[0] + 1 for now, then in pairwise(reads)))
