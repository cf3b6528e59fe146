"""Whose memory an array is part of, and memory of its own for what is given away."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from torchlite.backends import is_array
from torchlite.backends.memory import overlaps_itself, share_memory
from torchlite.compiler.graph import Graph


def owner(array: Any) -> Any:
    """The array whose memory an array is part of."""
    base = array.base
    while base is not None:
        if is_array(base):
            array = base
        base = getattr(base, "base", None)  # of what `as_strided` puts between two arrays as well
    return array


def share_what_is_written(arrays: Sequence[Any], written: Collection[int]) -> bool:
    """Whether one of the arrays at the indices ``written`` may have an element in common with another array."""
    by_owner: dict[int, list[int]] = {}
    anywhere: list[int] = []  # in memory that NumPy has not allocated
    owners = list(map(owner, arrays))
    for i, memory in enumerate(owners):
        owned = isinstance(memory, np.ndarray) and memory.flags.owndata
        (by_owner.setdefault(id(memory), []) if owned else anywhere).append(i)
    for w in written:
        near = (*by_owner[id(owners[w])], *anywhere) if id(owners[w]) in by_owner else range(len(arrays))
        if any(i != w and share_memory(arrays[i], arrays[w]) for i in near):
            return True
    return False


def owners_of_constants(graph: Graph) -> set[int]:
    """Ids of the arrays in whose memory the constants of a graph lie."""
    values = (*(v for node in graph.nodes for v in node.reads()), *graph.outputs)
    return {id(owner(v.constant)) for v in values if is_array(v.constant)}


def taken(array: Any, owners: set[int]) -> Any:
    """``array``, copied where its memory belongs to one of ``owners`` (ids); from now on it is among them."""
    if not is_array(array):
        return np.asarray(array) if isinstance(array, np.generic) else array
    if id(owner(array)) in owners or overlaps_itself(array):
        return array.copy()
    owners.add(id(owner(array)))
    return array
