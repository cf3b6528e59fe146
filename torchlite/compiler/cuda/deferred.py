"""Copies from the host that can't be made while a graph is recorded: they are made when it has been, before it first runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from torchlite.backends import cupy

Copies = list[tuple[Any, "np.ndarray[Any, Any]"]]
"""Arrays of a GPU, and what they are to hold."""


class _Waiting(threading.local):
    """Of this thread."""

    copies: Copies | None = None


_waiting = _Waiting()


def placed(array: np.ndarray[Any, Any]) -> Any:
    """A copy on CuPy's current GPU."""
    xp = cupy()
    if _waiting.copies is None:
        return xp.asarray(array)
    there = xp.empty(array.shape, array.dtype)
    _waiting.copies.append((there, array))
    return there


@contextmanager
def deferring() -> Iterator[Copies]:
    """Within it `placed` only allocates; the list that it gives says what is to be copied behind it."""
    before, _waiting.copies = _waiting.copies, []
    try:
        yield _waiting.copies
    finally:
        _waiting.copies = before
