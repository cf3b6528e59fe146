"""float16 and bfloat16 where sums are formed: in float32, rounded once at the end."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from torchlite import dtypes

HALVES = (dtypes.float16.numpy, dtypes.bfloat16.numpy)


def widened(run: Callable[..., Any]) -> Callable[..., Any]:
    """How an operator runs, with half types computed in float32.

    In their own type every addition would round, and NumPy's arithmetic of half types is slow. A GPU's float16 stays as
    it is, because its products add up in float32 anyway.
    """

    @functools.wraps(run)
    def in_float32(xp: Any, first: Any, *arrays: Any, **params: Any) -> Any:
        dtype = first.dtype
        if dtype.itemsize != 2 or dtype not in HALVES or (xp is not np and dtype == np.float16):
            return run(xp, first, *arrays, **params)
        wide = (array.astype(np.float32) if array.dtype == dtype else array for array in (first, *arrays))
        return run(xp, *wide, **params).astype(dtype)

    return in_float32
