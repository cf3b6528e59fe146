"""Numbers of the host where kernels read them: eight bytes each in one array of a GPU, all stored by one launch.

They are that launch's arguments, which the driver copies. So the host may go on to the next numbers while a GPU has still to
compute with these, and nothing waits as for a copy from memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np

from torchlite.backends import cupy
from torchlite.ir import Aval

SIZE = 8
_MOST = 496  # numbers in one launch: arguments may have 4 KB
_THREADS = 256
_SOURCE = f"""\
struct Numbers {{ unsigned long long at[{_MOST}]; }};
extern "C" __global__ void store(unsigned long long *to, const Numbers numbers, const int count) {{
    for (int i = threadIdx.x; i < count; i += {_THREADS}) to[i] = numbers.at[i];
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
        for start, arguments in _launches(self._there):
            self._launches.append(arguments)
            chunk = arguments[1]["at"]
            self._here += [
                chunk[i : i + 1].view(aval.dtype)[:1].reshape(aval.shape)
                for i, aval in enumerate(avals[start : start + _MOST])
            ]

    def store(self, numbers: Iterable[Any]) -> None:
        """Give all of them new values, arrays or numbers of the host."""
        for place, number in zip(self._here, numbers, strict=True):
            place[...] = number
        _launch(self._launches)


def sent(numbers: np.ndarray[Any, Any]) -> Any:
    """An array of uint64 on CuPy's current GPU; some hundred numbers are there sooner so than by a copy."""
    there, flat = cupy().empty(numbers.size, np.uint64), numbers.reshape(-1)
    launches = list(_launches(there))
    for start, (_, struct, _) in launches:
        part = flat[start : start + _MOST]
        struct["at"][: part.size] = part
    _launch([arguments for _, arguments in launches])
    return there


def _launches(there: Any) -> Iterator[tuple[int, tuple[Any, Any, Any]]]:
    """The numbers of the first element that a launch stores, and its arguments: where to, what, and how many."""
    for start in range(0, there.size, _MOST):
        numbers = np.zeros((), [("at", np.uint64, (_MOST,))])
        yield start, (there[start:] if start else there, numbers, np.int32(min(_MOST, there.size - start)))


def _launch(launches: Iterable[tuple[Any, Any, Any]]) -> None:
    kernel = _kernel(cupy().cuda.Device().id)
    for arguments in launches:
        kernel((1,), (_THREADS,), arguments)


@cache
def _kernel(_device: int) -> Any:
    return cupy().RawModule(code=_SOURCE, options=("--std=c++17",)).get_function("store")
