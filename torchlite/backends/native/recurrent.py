"""LSTM and GRU over whole sequences, and their gradients.

The LSTM's are also for bfloat16, in which it is computed in float32. The state is rounded before each product with the
recurrent weight, and so are the cotangents of the gates.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite.backends.native.bfloat16 import BFLOAT16
from torchlite.backends.native.library import Family

Array = np.ndarray[Any, Any]
BatchSizes = tuple[int, ...] | None

C = Family(
    "mathematics.h", "vectors.h", "strips.h", "vector_mathematics.h", "recurrent.h", "recurrent.c",
    lstm="aaaaaaaannnn->i", lstm_grad="aaaaaaaaaannnn->i", gru="aaaaaaannnn->i", gru_grad="aaaaaaaaannnn->i",
)  # fmt: skip
IN_BFLOAT16 = Family(
    "mathematics.h", "vectors.h", "strips.h", "vector_mathematics.h", "recurrent.h", "bfloat16.h", "bfloat16_recurrent.h",
    "bfloat16_recurrent.c", lstm="aaaaaaaannnn->i", lstm_grad="aaaaaaaaaannnn->i", weight_bytes="ni->n", task_bytes="ni->n",
)  # fmt: skip
_FLOAT32 = np.dtype(np.float32)


def _family(dtype: np.dtype[Any]) -> Family | None:
    """Which kernels of the LSTM take a dtype."""
    if dtype == _FLOAT32:
        return C
    return IN_BFLOAT16 if dtype == BFLOAT16 and IN_BFLOAT16.available() else None


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
    family, arrays = _family(gates.dtype), _dense(gates.dtype, gates, h0, c0, w_hh)
    if w_hr or family is None or arrays is None or h0.shape != c0.shape:
        return None
    hs, cs = (np.empty((len(gates), *c0.shape), c0.dtype) for _ in range(2))
    results = hs, cs, np.empty(gates.shape, gates.dtype)
    return results if family.lstm(*arrays, *results, _sizes(batch_sizes), *hs.shape, reverse) else None


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
    family = _family(kept.dtype)
    arrays = _dense(kept.dtype, kept, c0, w_hh, cs, *(next(rest) if there else None for there in given))
    if family is None or arrays is None or w_hh.shape[1] != c0.shape[1]:
        return None
    results = np.empty(kept.shape, kept.dtype), np.empty(c0.shape, c0.dtype), np.empty(c0.shape, c0.dtype)
    return results if family.lstm_grad(*arrays, *results, _sizes(batch_sizes), *cs.shape, reverse) else None


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
