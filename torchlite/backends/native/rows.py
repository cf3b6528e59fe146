"""Softmax, its logarithm and their gradients, along the last dimension."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from torchlite.backends.native.library import Family

Array = np.ndarray[Any, Any]

C = Family(
    "mathematics.h",
    "vectors.h",
    "rows.h",
    "rows.c",
    apart=[("softmax", "softmax_grad"), ("log_softmax", "log_softmax_grad")],
    **dict.fromkeys(("softmax", "log_softmax", "softmax_grad", "log_softmax_grad"), "aaann"),
)


def _of_rows(name: str) -> Callable[..., Array | None]:
    def run(*arrays: Array, dim: int) -> Array | None:
        *g, x = arrays
        if dim != x.ndim - 1 or any(a.dtype != np.float32 or a.shape != x.shape for a in arrays):
            return None
        g, x = [np.ascontiguousarray(a) for a in g], np.ascontiguousarray(x)
        out = np.empty(x.shape, x.dtype)
        getattr(C, name)(g[0] if g else None, x, out, x.size // max(x.shape[-1], 1), x.shape[-1])
        return out

    return run


softmax = _of_rows("softmax")
log_softmax = _of_rows("log_softmax")
softmax_grad = _of_rows("softmax_grad")
log_softmax_grad = _of_rows("log_softmax_grad")
