"""Whether objects that are found in fixed places are still the same ones: one loop that runs in C."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain, starmap
from typing import Any

import numpy as np

_AT_ONCE = 480  # objects whose addresses, and the array that holds them, fit into a page

Found = tuple[Any, ...]
"""A function, and for each of its parameters the objects that it is given there one after the other."""


class Identities:
    """What some containers hold and what some functions give of some objects, noted when it is made.

    No object is looked into or asked whether it equals another: the addresses are compared.

    Args:
        containers: mappings, of which the values count, lists, sets and deques; how many elements they have counts as well.
        found: functions and their arguments.
    """

    def __init__(self, containers: Iterable[Any], found: Iterable[Found] = ()) -> None:
        containers = list(containers)
        self._empty = [x for x in containers if not x]
        self._filled = [x for x in containers if x]
        self._sizes = list(map(len, self._filled))
        contents = [x.values() if isinstance(x, Mapping) else x for x in self._filled]
        self._parts = [_Part()]
        for source, size in zip(contents, self._sizes, strict=True):
            self._part_for(size).contents.append(source)
        for function, *given in found:
            self._part_for(len(given[0])).found.append((function, *given))
        self._objects = [part.objects() for part in self._parts]  # kept, so that no other one comes to their addresses
        self._addresses = [objects.tobytes() for objects in self._objects]

    def _part_for(self, size: int) -> _Part:
        if self._parts[-1].count and self._parts[-1].count + size > _AT_ONCE:
            self._parts.append(_Part())
        part = self._parts[-1]
        part.count += size
        return part

    def hold(self) -> bool:
        """Whether they are the same; False also where that can't be told, because a container grows meanwhile."""
        try:
            if any(self._empty) or list(map(len, self._filled)) != self._sizes:
                return False
            for part, addresses in zip(self._parts, self._addresses, strict=True):
                if part.objects().tobytes() != addresses:
                    return False
        except (RuntimeError, ValueError):  # a cell is empty
            return False
        return True


@dataclass(eq=False)
class _Part:
    """Some containers and functions, which give few enough objects together."""

    contents: list[Collection[Any]] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)
    count: int = 0

    def objects(self) -> Any:
        """All objects, as an array."""
        return np.fromiter(_chained(chain(self.contents, starmap(map, self.found))), object, self.count)


_chained = chain.from_iterable
