"""Where in memory Python's objects lie, so that many can be fetched at once before they are looked at.

What a step computes pushes them out of the caches, and one after the other each line of memory would be waited for. Nothing
relies on the addresses: a line in which there is something else by now is fetched in vain.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_LINE = 64
_MOST = 1024  # bytes of one object or table
_WORD = ctypes.sizeof(ctypes.c_void_p)

# Of CPython's structures, in words: of a dict the places of its table and, behind that, of values that lie apart; of a list
# that of its elements; of other objects those of their attributes, which stand before them.
_TABLE, _ELEMENTS, _ATTRIBUTES = 4, 3, -4
_ENTRY = 3 * _WORD  # of a dict's table
_ATTRIBUTES_BEFORE = 1 << 4 if sys.version_info >= (3, 11) else 0  # flag of a type


def lines_of(objects: Iterable[Any]) -> Array:
    """The addresses of the lines in which objects lie, and what dicts and lists hold directly, in their order."""
    stretches = chain.from_iterable(map(_stretches, objects))
    lines = (line for start, size in stretches for line in range(start & -_LINE, start + min(size, _MOST), _LINE))
    return np.array([*dict.fromkeys(lines)], np.uintp)


def _stretches(x: Any) -> Iterator[tuple[int, int]]:
    """Where something of an object begins, and how many bytes it takes."""
    kind = type(x)
    yield id(x), kind.__basicsize__
    if kind.__flags__ & _ATTRIBUTES_BEFORE:
        yield from ((start, 2 * _LINE) for start in _words(x, _ATTRIBUTES, 2) if start)
    if isinstance(x, list) and x:
        yield from ((start, _WORD * len(x)) for start in _words(x, _ELEMENTS, 1))
    elif isinstance(x, dict) and x and dict.__basicsize__ >= (_TABLE + 2) * _WORD:
        table, values = _words(x, _TABLE, 2)
        yield table, _ENTRY * (len(x) + 2)
        if values:
            yield values, _WORD * len(x)


def _words(x: Any, first: int, count: int) -> Sequence[int]:
    return [*(ctypes.c_size_t * count).from_address(id(x) + first * _WORD)]
