"""The libraries of kernels: C texts of this folder, each compiled when one of its functions is first wanted.

Whether a kernel is used depends on shapes and dtypes and on whether C can be compiled here, never on time: the choice
changes rounding, and equal runs shall give equal numbers.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import warnings
from pathlib import Path
from typing import Any

from torchlite.backends.native import toolchain
from torchlite.backends.threads import follow_threads

_HERE = Path(__file__).parent


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
    run = ctypes.cast(pool().pool_run, ctypes.c_void_p)
    library = toolchain.load(source)
    library.bind.argtypes = [ctypes.c_void_p]
    library.bind(run)
    return library


@functools.cache
def library(*names: str) -> ctypes.CDLL | None:
    """The library of some files of this folder; None, after one warning, where it can't be had."""
    try:
        return load(text("parallel.h", *names))
    except toolchain.Unavailable as error:
        _warn_once(str(error))
        return None


_warned = False


def _warn_once(reason: str) -> None:
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            f"torchlite computes with NumPy alone, which is slower: {reason} (TORCHLITE_NATIVE=0 silences this)",
            RuntimeWarning,
            stacklevel=2,
        )
