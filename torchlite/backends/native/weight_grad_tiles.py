"""C text of gradients of convolutions' weights in tile registers: ``weight_grad_tiles.h`` describes what is chosen here."""

from __future__ import annotations

import math
from typing import Any

from torchlite.backends.native import convolution_nhwc
from torchlite.backends.native.convolution_nhwc import Kernel, Sizes, forward_axes, shares_of_weights

HEADERS = ("bfloat16.h", "split_float32.h", convolution_nhwc.HEADER, "weight_grad_tiles.h")

_TILE = 16  # numbers along a tile
_TERMS = 3
_TAPS_ABREAST = 3  # whose sums are in tile registers at once
_SIDE_BY_SIDE = (1, 2, 4, 8)  # samples
_STACK = 1 << 18  # numbers of 32 bits that a task may have there
_WORK = 1 << 22  # multiplications that are worth packing
_USES = 128  # of a packed number of the source


def weight_grad(
    name: str, x: Sizes, g: Sizes, window: Any, steps: Sizes | None = None, *, filled: bool = False
) -> Kernel:
    """As that of ``convolution_nhwc``, in tile registers where these are faster and the processor has some."""
    apart = f"{name}_apart"
    made = convolution_nhwc.weight_grad(apart, x, g, window, steps, filled=filled)
    tiles = _tiles(x, g, window)
    if tiles is None:
        return convolution_nhwc.weight_grad(name, x, g, window, steps, filled=filled)
    size = x[3] * g[3] * math.prod(window.kernel)
    text = f"{made.text}WEIGHT_GRADIENT_IN_TILES({name}, {apart}, {', '.join(map(str, tiles))})\n"
    return Kernel(text, made.scratch + 2 * shares_of_weights(size) * size)


def _tiles(x: Sizes, g: Sizes, window: Any) -> tuple[int, int, int] | None:
    """How many samples lie side by side, rows of a chunk, and columns that taps of one phase read; None without tiles."""
    down, across = forward_axes(window)
    (_, _, width, channels), (_, rows, columns, results) = x, g
    together = next((n for n in _SIDE_BY_SIDE if columns * n % _TILE == 0), None)
    if together is None or channels % _TILE or results % _TILE or across.taps != _TAPS_ABREAST:
        return None
    taps = down.taps * across.taps
    if math.prod(g) * channels * taps < _WORK or results * taps < _USES * down.step * across.step:
        return None
    pitch = columns + (across.taps - 1) * across.dilation // across.step

    def words(chunk: int) -> int:
        met = (chunk // 2 - 1) * down.step + (down.taps - 1) * down.dilation + 1
        pixels = met * across.step * pitch * together * channels + chunk // 2 * columns * together * results
        return 2 * (_TERMS * pixels + width * channels)

    chunks = (n for n in range(rows, 0, -1) if rows % n == 0 and n % 2 == 0 and words(n) <= _STACK)
    chunk = next(chunks, None)
    return None if chunk is None else (together, chunk, pitch)
