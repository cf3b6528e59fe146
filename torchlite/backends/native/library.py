"""The libraries of kernels: C texts of this folder, each compiled when one of its functions is first wanted.

Whether a kernel is used depends on shapes and dtypes and on whether C can be compiled here, never on time: the choice
changes rounding, and equal runs shall give equal numbers.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from torchlite.backends.memory import CPYTHON
from torchlite.backends.native import calls, toolchain
from torchlite.backends.threads import follow_threads

_HERE = Path(__file__).parent
GRAIN = 1 << 14  # numbers that a task takes, as ``parallel.h`` says


def text(*names: str) -> str:
    """The C text of files of this folder, one after the other."""
    return "\n".join((_HERE / name).read_text() for name in names)


@functools.cache
def pool() -> Any:
    """The pool of threads; ``pool().pool_run`` is what kernels call for the work of several.

    Raises:
        Unavailable: where C can't be compiled.
    """
    library = toolchain.load(text("pool.c"))
    library.pool_set_threads.argtypes = [ctypes.c_int]
    follow_threads(library.pool_set_threads)
    atexit.register(library.pool_stop)
    return library


def load(source: str) -> ctypes.CDLL:
    """A C text that begins with ``parallel.h``, compiled, loaded and bound to the pool.

    Raises:
        Unavailable: where C can't be compiled.
    """
    return load_all([source])[0]


def load_all(sources: Sequence[str]) -> list[ctypes.CDLL]:
    """Several such texts, compiled at the same time.

    Raises:
        Unavailable: where C can't be compiled.
    """
    run = ctypes.cast(pool().pool_run, ctypes.c_void_p)
    libraries = toolchain.load_all(sources)
    for library in libraries:
        library.bind.argtypes = [ctypes.c_void_p]
        library.bind(run)
    return libraries


class _Array(ctypes.c_void_p):
    """The type of an argument that is a NumPy array, handed over as its address; None becomes NULL."""

    @classmethod
    def from_param(cls, array: Any) -> Any:
        return None if array is None else cls(array.ctypes.data)


_TYPES = {
    "a": _Array, "n": ctypes.c_long, "f": ctypes.c_float, "d": ctypes.c_double, "i": ctypes.c_int, "p": ctypes.c_void_p,
    "o": ctypes.py_object, "-": None,
}  # fmt: skip


def objects(arrays: Sequence[Any]) -> Any:
    """The arrays as ``arrays.h`` reads them, for a function of a family that `understands_arrays`."""
    return (ctypes.c_void_p * len(arrays))(*map(id, arrays))


def _through_ctypes(library: ctypes.CDLL, name: str, signature: str) -> Any:
    arguments, _, result = signature.partition("->")
    function = getattr(library, name)
    function.argtypes = [_TYPES[letter] for letter in arguments]
    function.restype = _TYPES[result or "-"]
    return function


class Family:
    """The functions of one C file of this folder, which are attributes once it is `available`.

    Args:
        files: what its text consists of after ``parallel.h``, itself the last.
        functions: for each function the types of its arguments, a for arrays, n for longs, f for floats, p for
            other pointers, o for arrays as ``arrays.h`` reads them, and where it has one behind an arrow the type of its
            result, i for int, d for double and o for any object: ``reduce="aaannn->i"``. With the last no other thread of
            Python runs meanwhile.
    """

    def __init__(self, *files: str, **functions: str) -> None:
        self._files = files
        self._functions = functions

    @functools.cached_property
    def text(self) -> str:
        """All of the C text."""
        directly = {
            name: signature for name, signature in self._functions.items() if calls.callable_directly(signature)
        }
        return "\n".join((text("parallel.h", "calls.h", *self._files), calls.text(directly)))

    def available(self) -> bool:
        """Whether the file is compiled, which the first call does; after one warning False where it can't be."""
        return self._library is not None

    @functools.cached_property
    def _library(self) -> ctypes.CDLL | None:
        try:
            library = load(self.text)
        except toolchain.Unavailable as error:
            warn_once(str(error))
            return None
        if CPYTHON:
            calls.bind(library)
        return library

    @functools.cached_property
    def understands_arrays(self) -> bool:
        """Whether ``arrays.h``, with which its text must begin, finds what is in an array of this Python."""
        probe = np.zeros((2, 3), np.float32)
        return CPYTHON and bool(self.understands(probe, probe, 3))

    def __getattr__(self, name: str) -> Any:
        try:
            signature = self._functions[name]
        except KeyError:
            raise AttributeError(f"{self._files[-1]} has no function {name!r}") from None
        assert self._library is not None
        direct = calls.callable_directly(signature)
        function = calls.function(self._library, name) if direct else _through_ctypes(self._library, name, signature)
        setattr(self, name, function)
        return function


_warned = False


def warn_once(reason: str) -> None:
    """Warn that C can't be compiled, the first time that it matters."""
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            f"torchlite computes with NumPy alone, which is slower: {reason} (TORCHLITE_NATIVE=0 silences this)",
            RuntimeWarning,
            stacklevel=2,
        )
