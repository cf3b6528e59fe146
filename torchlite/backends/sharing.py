"""Memory that a process shares with those that are forked from it."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np

from torchlite.backends.memory import rooted

NumpyArray = np.ndarray[Any, Any]


def shared_copy(array: NumpyArray) -> NumpyArray:
    """A copy of ``array`` in shared memory."""
    block = mmap.mmap(-1, max(array.nbytes, 1))
    copied = np.frombuffer(block, array.dtype, array.size).reshape(array.shape)
    copied[...] = array
    return rooted(copied)


def is_shared(array: NumpyArray) -> bool:
    """Whether ``array`` lies in memory that `shared_copy` made."""
    owner: Any = array
    while getattr(owner, "base", None) is not None:
        owner = owner.base
    return isinstance(owner, memoryview) and isinstance(owner.obj, mmap.mmap)
