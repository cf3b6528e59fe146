"""float16 and bfloat16 where sums are formed: in float32, rounded once at the end."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.backends.native import accelerated

BFLOAT16: np.dtype[Any] = dtypes.bfloat16.numpy
HALVES = (dtypes.float16.numpy, BFLOAT16)
FEWEST = 1 << 12
"""Numbers from which a kernel of bfloat16 is wanted."""

_FLOAT32 = np.dtype(np.float32)


def cast(xp: Any, x: Any, *, dtype: Any) -> Any:
    """``x.astype(dtype)``."""
    return _cast(xp, x, dtype=dtype) if x.dtype == BFLOAT16 or dtype == BFLOAT16 else x.astype(dtype)


@accelerated("bfloat16.cast", least=FEWEST)
def _cast(_xp: Any, x: Any, *, dtype: Any) -> Any:
    return x.astype(dtype)


def widened(run: Callable[..., Any]) -> Callable[..., Any]:
    """How an operator runs, with half types computed in float32; of several results those of float32 are rounded back.

    In their own type every addition would round, and NumPy's arithmetic of half types is slow. A GPU's float16 stays as
    it is, because its products add up in float32 anyway, unless a number beside it is float32.
    """

    @functools.wraps(run)
    def in_float32(xp: Any, first: Any, *arrays: Any, **params: Any) -> Any:
        dtype = first.dtype
        if (
            dtype.itemsize != 2
            or dtype not in HALVES
            or (xp is not np and dtype == np.float16 and not any(x.dtype == _FLOAT32 for x in arrays))
        ):
            return run(xp, first, *arrays, **params)
        wide = [cast(xp, x, dtype=_FLOAT32) if x.dtype == dtype else x for x in (first, *arrays)]
        result = run(xp, *wide, **params)
        if type(result) is tuple:
            return tuple(cast(xp, x, dtype=dtype) if x.dtype == _FLOAT32 else x for x in result)
        return cast(xp, result, dtype=dtype)

    return in_float32


def rounded_once(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A function of tensors, with half types computed in float32 from its arguments to its result, gradients included."""

    @functools.wraps(function)
    def in_float32(*args: Any, **kwargs: Any) -> Tensor:
        half = _common_half((*args, *kwargs.values()))
        if half is None:
            return function(*args, **kwargs)
        wide = {name: _wide(x, half) for name, x in kwargs.items()}
        return function(*(_wide(x, half) for x in args), **wide).to(half)

    return in_float32


def _wide(x: Any, half: dtypes.dtype) -> Any:
    return x.to(dtypes.float32) if isinstance(x, Tensor) and x.dtype is half else x


def _common_half(args: Sequence[Any]) -> dtypes.dtype | None:
    """The half type that the tensors of ``args`` are promoted to; None where it is another one."""
    tensors = [x for x in args if isinstance(x, Tensor)]
    if not any(x._data.dtype in HALVES for x in tensors):
        return None
    common = dtypes.result_type([(x.dtype, x.ndim) for x in tensors], [])
    return common if common.numpy in HALVES else None
