"""Numbers of the host where kernels read them: eight bytes each in one array of a GPU, all stored by one launch.

They are that launch's arguments, which the driver copies. So the host may go on to the next numbers while a GPU has still to
compute with these, and nothing waits as for a copy from memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np

from torchlite.backends import cupy
from torchlite.ir import Aval

SIZE = 8
_MOST = 256  # numbers in one launch: 2 KB of the 4 that arguments may have
_SOURCE = f"""\
struct Numbers {{ unsigned long long at[{_MOST}]; }};
extern "C" __global__ void store(unsigned long long *to, const Numbers numbers, const int count) {{
    if (threadIdx.x < count) to[threadIdx.x] = numbers.at[threadIdx.x];
}}
"""


def fits(aval: Aval) -> bool:
    """Whether an array is one number that has room."""
    return aval.size == 1 and aval.dtype.itemsize <= SIZE


class Slots:
    """Numbers on CuPy's current GPU.

    Args:
        avals: of the arrays that hold them.

    Attributes:
        arrays: those, on the GPU.
    """

    def __init__(self, avals: Sequence[Aval]) -> None:
        xp = cupy()
        count = len(avals)
        self._there = xp.empty(count, np.uint64)
        self.arrays = [self._there[i : i + 1].view(aval.dtype)[:1].reshape(aval.shape) for i, aval in enumerate(avals)]
        self._launches: list[tuple[Any, Any, Any]] = []
        self._here: list[Any] = []
        for start in range(0, count, _MOST):
            numbers = np.zeros((), [("at", np.uint64, (_MOST,))])
            length = min(_MOST, count - start)
            self._launches.append((self._there[start:], numbers, np.int32(length)))
            chunk = numbers["at"]
            self._here += [
                chunk[i : i + 1].view(aval.dtype)[:1].reshape(aval.shape)
                for i, aval in enumerate(avals[start : start + length])
            ]

    def store(self, numbers: Iterable[Any]) -> None:
        """Give all of them new values, arrays or numbers of the host."""
        for place, number in zip(self._here, numbers, strict=True):
            place[...] = number
        for arguments in self._launches:
            _kernel(cupy().cuda.Device().id)((1,), (_MOST,), arguments)


@cache
def _kernel(_device: int) -> Any:
    return cupy().RawModule(code=_SOURCE, options=("--std=c++17",)).get_function("store")
