"""LSTM and GRU over whole sequences, and their gradients.

The LSTM's are also for bfloat16, in which it is computed in float32. The state is rounded before each product with the
recurrent weight, and so are the cotangents of the gates.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite.backends.native.bfloat16 import BFLOAT16, has_tiles
from torchlite.backends.native.library import Family
from torchlite.backends.native.toolchain import processors

Array = np.ndarray[Any, Any]
BatchSizes = tuple[int, ...] | None

TILES = "recurrent_terms.h", "recurrent_products.h", "recurrent_weight.h", "recurrent_tiles.h"
GRADIENT_TILES = *TILES, "recurrent_tiles_grad.h"
C = Family(
    "mathematics.h", "vectors.h", "strips.h", "vector_mathematics.h", "embeddings.h", "needed.h", "recurrent.h",
    "bfloat16.h", *GRADIENT_TILES, "recurrent.c",
    apart=[("lstm", "lstm_grad"), ("lstm_bfloat16", "lstm_grad_bfloat16"), ("gru", "gru_grad")],
    **dict.fromkeys(("lstm", "lstm_bfloat16"), "aaaaaaaannnn->i"),
    **dict.fromkeys(("lstm_grad", "lstm_grad_bfloat16"), "aaaaaaaaaannnn->i"),
    gru="aaaaaaannnn->i", gru_grad="aaaaaaaaannnn->i", tiled_scratch="nnnnn->n",
)  # fmt: skip
_FLOAT32 = np.dtype(np.float32)
_UNITS = 16  # of a tile, as ``recurrent_tiles.h`` has them


def in_tiles(w_hh_shape: tuple[int, ...]) -> bool:
    """Whether an LSTM with such a recurrent weight can be computed in tiles, which is the only way in bfloat16."""
    return w_hh_shape[1] % _UNITS == 0


def sums_pay(shape: tuple[int, int, int], columns: tuple[int, ...]) -> bool:
    """Whether the gradient in tiles should also sum the products of the gates' cotangents, as ``recurrent_sums.h`` does it.

    That is where there are tile registers, whole tiles of samples and sums that leave room in the second-level cache.

    Args:
        shape: steps, samples and units.
        columns: of what the cotangents are multiplied with.
    """
    steps, samples, width = shape
    size = 4 * width * sum(columns)
    large = samples >= 2 * _UNITS and width % _UNITS == 0 and steps * samples * size >= 1 << 22
    return large and size <= 1 << 18 and len(columns) <= 2 and has_tiles()


def rows_pay(shape: tuple[int, int, int], rows: int) -> bool:
    """Whether an LSTM should take its gates from a table where it lies, which has to stay in the second-level cache.

    Args:
        shape: steps, samples and units.
        rows: of the table.
    """
    steps, samples, width = shape
    return width % _UNITS == 0 and rows * width <= 1 << 15 and steps * samples >= 4 * rows


def inputs_pay(shape: tuple[int, int, int], columns: int) -> bool:
    """Whether an LSTM of float32 should multiply by its input's weight itself, which has to stay in the second-level cache.

    That is where there are no tile registers, and where its tasks, of 16 samples each, keep all processors equally busy.

    Args:
        shape: steps, samples and units.
        columns: of the inputs.
    """
    _, samples, width = shape
    fits = width % _UNITS == 0 and 16 * width * (width + columns) <= 1 << 20
    return fits and samples % (16 * processors()) == 0 and not has_tiles()


def inputs_gradient_pays(shape: tuple[int, int, int], columns: int) -> bool:
    """The same of its gradient, which multiplies by whole vectors."""
    return columns % _UNITS == 0 and inputs_pay(shape, columns)


def _takes(dtype: np.dtype[Any], w_hh: Array) -> bool:
    return dtype == _FLOAT32 or (dtype == BFLOAT16 and in_tiles(w_hh.shape))


def _dense(dtype: np.dtype[Any], *arrays: Array | None) -> list[Array | None] | None:
    """Each array without gaps; None where one has another dtype or the first has no elements."""
    first = arrays[0]
    if first is None or not first.size or any(array is not None and array.dtype != dtype for array in arrays):
        return None
    return [None if array is None else np.ascontiguousarray(array) for array in arrays]


def _sizes(batch_sizes: BatchSizes) -> Array | None:
    return None if batch_sizes is None else np.array(batch_sizes, np.int64)


def lstm(
    gates: Array, h0: Array, c0: Array, w_hh: Array, *w_hr: Array, batch_sizes: BatchSizes, reverse: bool
) -> tuple[Array, Array, Array] | None:
    """The hidden and cell states after each step, and the values of the gates; without projections."""
    arrays = _dense(gates.dtype, gates, h0, c0, w_hh)
    if w_hr or arrays is None or h0.shape != c0.shape or not _takes(gates.dtype, w_hh):
        return None
    hs, cs = (np.empty((len(gates), *c0.shape), c0.dtype) for _ in range(2))
    results = hs, cs, np.empty(gates.shape, gates.dtype)
    run = C.lstm if gates.dtype == _FLOAT32 else C.lstm_bfloat16
    return results if run(*arrays, *results, _sizes(batch_sizes), *hs.shape, reverse) else None


def lstm_grad(
    kept: Array,
    c0: Array,
    w_hh: Array,
    cs: Array,
    *cotangents: Array,
    given: tuple[bool, bool],
    batch_sizes: BatchSizes,
    reverse: bool,
) -> tuple[Array, Array, Array] | None:
    """The cotangents of the gates and of both first states, from those of the states after each step."""
    rest = iter(cotangents)
    arrays = _dense(kept.dtype, kept, c0, w_hh, cs, *(next(rest) if there else None for there in given))
    if arrays is None or w_hh.shape[1] != c0.shape[1] or not _takes(kept.dtype, w_hh):
        return None
    results = np.empty(kept.shape, kept.dtype), np.empty(c0.shape, c0.dtype), np.empty(c0.shape, c0.dtype)
    run = C.lstm_grad if kept.dtype == _FLOAT32 else C.lstm_grad_bfloat16
    return results if run(*arrays, *results, _sizes(batch_sizes), *cs.shape, reverse) else None


def gru(
    gates: Array, h0: Array, w_hh: Array, *b_hh: Array, batch_sizes: BatchSizes, reverse: bool
) -> tuple[Array, Array] | None:
    """The states after each step, and the values of the gates and of the state's share of n."""
    arrays = _dense(_FLOAT32, gates, h0, w_hh, *(b_hh or (None,)))
    if arrays is None:
        return None
    hs = np.empty((len(gates), *h0.shape), h0.dtype)
    results = hs, np.empty((*gates.shape[:2], 4 * h0.shape[1]), gates.dtype)
    return results if C.gru(*arrays, *results, _sizes(batch_sizes), *hs.shape, reverse) else None


def gru_grad(
    g: Array, kept: Array, h0: Array, w_hh: Array, hs: Array, *, batch_sizes: BatchSizes, reverse: bool
) -> tuple[Array, Array, Array] | None:
    """The cotangents of the gates, of what the state adds to them, and of the first state."""
    arrays = _dense(_FLOAT32, kept, h0, w_hh, hs, g)
    if arrays is None:
        return None
    gates = (*kept.shape[:2], 3 * h0.shape[1])
    results = np.empty(gates, kept.dtype), np.empty(gates, kept.dtype), np.empty(h0.shape, h0.dtype)
    return results if C.gru_grad(*arrays, *results, _sizes(batch_sizes), *hs.shape, reverse) else None
