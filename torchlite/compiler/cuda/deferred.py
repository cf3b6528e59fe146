"""Copies from the host that can't be made while a graph is recorded: they are made once, before it first runs.

They lie in a pool of their own. In the graph's pool they could get memory that an operation before them had and gave back, such
as a workspace, and that operation would write over them at every launch.
"""

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
    pool: Any = None


_waiting = _Waiting()


def defers() -> bool:
    """Whether this thread records a graph, so that copies have to wait."""
    return _waiting.copies is not None


def placed(array: np.ndarray[Any, Any]) -> Any:
    """An array on CuPy's current GPU, of which this thread's graph will find a copy."""
    xp = cupy()
    assert _waiting.copies is not None
    with xp.cuda.using_allocator(_waiting.pool.malloc):
        there = xp.empty(array.shape, array.dtype)
    _waiting.copies.append((there, array))
    return there


@contextmanager
def deferring(pool: Any) -> Iterator[Copies]:
    """Within it `placed` only allocates, in ``pool``; the list that it gives says what is to be copied behind it."""
    before = _waiting.copies, _waiting.pool
    _waiting.copies, _waiting.pool = [], pool
    try:
        yield _waiting.copies
    finally:
        _waiting.copies, _waiting.pool = before
