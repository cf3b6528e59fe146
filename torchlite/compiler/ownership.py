"""Whose memory an array is part of, and memory of its own for what is given away."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite.backends import is_array
from torchlite.backends.memory import overlaps_itself
from torchlite.compiler.graph import Graph


def owner(array: Any) -> Any:
    """The array whose memory an array is part of."""
    base = array.base
    while base is not None and is_array(base):
        array, base = base, base.base
    return array


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
