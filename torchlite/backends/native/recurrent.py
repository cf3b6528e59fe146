"""LSTM over whole sequences, and its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite.backends.native.library import Family

Array = np.ndarray[Any, Any]

C = Family(
    "mathematics.h", "vectors.h", "products.h", "recurrent.c", lstm="aaaaaannnn->i", lstm_grad="aaaaaaaaaaannnn->i"
)  # fmt: skip


def _dense(*arrays: Array | None) -> list[Array | None] | None:
    """Each array without gaps; None where one is not float32."""
    if any(array is not None and array.dtype != np.float32 for array in arrays):
        return None
    return [None if array is None else np.ascontiguousarray(array) for array in arrays]


def lstm(
    gates: Array, h0: Array, c0: Array, w_hh: Array, *w_hr: Array, batch_sizes: Any, reverse: bool
) -> tuple[Array, Array] | None:
    """The hidden and cell states after each step; sequences of one length, without projections."""
    arrays = _dense(gates, h0, c0, w_hh)
    if w_hr or batch_sizes is not None or arrays is None or h0.shape != c0.shape or 0 in gates.shape:
        return None
    hs, cs = (np.empty((len(gates), *c0.shape), c0.dtype) for _ in range(2))
    return (hs, cs) if C.lstm(*arrays, hs, cs, *hs.shape, reverse) else None


def lstm_grad(
    gates: Array,
    h0: Array,
    c0: Array,
    w_hh: Array,
    hs: Array,
    cs: Array,
    *cotangents: Array,
    given: tuple[bool, bool],
    reverse: bool,
) -> tuple[Array, Array, Array] | None:
    """The cotangents of the gates and of both first states, from those of the states after each step."""
    rest = iter(cotangents)
    arrays = _dense(gates, h0, c0, w_hh, hs, cs, *(next(rest) if there else None for there in given))
    if arrays is None or 0 in gates.shape:
        return None
    results = np.empty(gates.shape, gates.dtype), np.empty(h0.shape, h0.dtype), np.empty(c0.shape, c0.dtype)
    return results if C.lstm_grad(*arrays, *results, *hs.shape, reverse) else None
