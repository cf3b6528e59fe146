"""How many threads work on one operator: in NumPy's matrix products, which BLAS computes, and in compiled kernels."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from torchlite.tracing import asked

_followers: list[Callable[[int], object]] = []


@functools.cache
def _blas() -> Any:
    """The OpenBLAS that NumPy's wheels contain, already loaded into this process; None where NumPy uses another."""
    package = Path(np.__file__).parent
    for folder in (package.parent / "numpy.libs", package / ".dylibs"):
        for path in sorted(folder.glob("*openblas*")):
            return ctypes.CDLL(str(path))
    return None


def _function(action: str) -> Any:
    names = (f"{prefix}openblas_{action}_num_threads{suffix}" for prefix in ("scipy_", "") for suffix in ("64_", ""))
    return next((getattr(_blas(), name) for name in names if hasattr(_blas(), name)), None)


def get_num_threads() -> int:
    """The number of threads; that of processors where it can't be known."""
    return int(asked(("get_num_threads",), _threads))


def _threads() -> int:
    function = _function("get")
    return int(function()) if function is not None else os.cpu_count() or 1


def set_num_threads(number: int) -> None:
    """Set the number of threads of matrix products and compiled kernels.

    Raises:
        RuntimeError: for anything but a positive integer, or where NumPy's BLAS library can't be told.
    """
    if not isinstance(number, int) or isinstance(number, bool):
        raise RuntimeError(f"set_num_threads expects an int, but got {type(number).__name__}")
    if number < 1:
        raise RuntimeError(f"set_num_threads expects a positive integer, got {number}")
    function = _function("set")
    if function is None:
        raise RuntimeError(
            "set_num_threads: NumPy does not use OpenBLAS here; set OMP_NUM_THREADS before it is imported"
        )
    function(number)
    for follow in _followers:
        follow(number)


def follow_threads(follow: Callable[[int], object]) -> None:
    """Call ``follow`` with the number of threads, now and whenever it is set."""
    _followers.append(follow)
    follow(_threads())
