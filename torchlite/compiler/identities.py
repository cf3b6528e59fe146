"""Whether objects that are found in fixed places are still the same ones: loops that run in C."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, starmap
from operator import attrgetter
from typing import Any

import numpy as np

from torchlite.backends.memory import CPYTHON
from torchlite.backends.native import kernel

_AT_ONCE = 480  # objects whose addresses, and the array that holds them, fit into a page

Found = tuple[Any, ...]
"""A function, and for each of its parameters the objects that it is given there one after the other."""

Chosen = tuple[Any, Sequence[Any]]
"""A mapping, and some keys."""

_MISSING = object()


class Identities:
    """What some containers hold and what some functions give of some objects, noted when it is made.

    No object is looked into or asked whether it equals another: the addresses are compared.

    Args:
        containers: mappings, of which the values count, lists, sets and deques; how many elements they have counts as well.
        found: functions and their arguments.
        keyed: dicts of which the keys, in their order, count as the values do.
        chosen: mappings of which only these keys count, whether they are there and with which values.
        attributes: objects of which only these attributes of their own count.
        objects: some with their classes and dicts, which count, the dict only where it is not None.
        functions: whose code and defaults count.
    """

    def __init__(
        self,
        containers: Iterable[Any],
        found: Iterable[Found] = (),
        keyed: Iterable[dict[Any, Any]] = (),
        chosen: Iterable[Chosen] = (),
        attributes: Iterable[Chosen] = (),
        objects: Sequence[tuple[Any, type, dict[str, Any] | None]] = (),
        functions: Sequence[Any] = (),
    ) -> None:
        containers, keyed, chosen = list(containers), list(keyed), list(chosen)
        self._plain = None
        if CPYTHON and kernel("contents.holds") is not None:
            plain, containers = _divided(containers, _is_plain)
            plain_keyed, keyed = _divided(keyed, _is_plain)
            plain_chosen, chosen = _divided(chosen, lambda one: _is_plain(one[0]) and {*map(type, one[1])} == {str})
            self._plain = _Plain(plain, plain_keyed, plain_chosen, list(attributes), objects, functions)
            attributes, objects, functions = [], [], []
        containers += [view for x in keyed for view in (x.keys(), x.values())]
        gets: list[Found] = [(x.get, keys, (_MISSING,) * len(keys)) for x, keys in chosen]
        gets += [(getattr, (x,) * len(names), names) for x, names in attributes]
        gets += [(type, [x for x, *_ in objects])] if objects else []
        gets += [(vars, with_dict)] if (with_dict := [x for x, _, held in objects if held is not None]) else []
        gets += [(part, functions) for part in _OF_FUNCTIONS] if functions else []
        self._empty = [x for x in containers if not x]
        self._filled = [x for x in containers if x]
        self._sizes = list(map(len, self._filled))
        contents = [x.values() if isinstance(x, Mapping) else x for x in self._filled]
        self._parts = [_Part()]
        for source, size in zip(contents, self._sizes, strict=True):
            self._part_for(size).contents.append(source)
        for function, *given in (*found, *gets):
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
        if self._plain is not None and not self._plain.hold():
            return False
        try:
            if any(self._empty) or list(map(len, self._filled)) != self._sizes:
                return False
            for part, addresses in zip(self._parts, self._addresses, strict=True):
                if part.objects().tobytes() != addresses:
                    return False
        except (RuntimeError, ValueError):  # a cell is empty
            return False
        return True


class _Plain:
    """What dicts and lists hold, and objects in attributes; the arguments are those of `Identities`."""

    def __init__(
        self,
        containers: Sequence[Any],
        keyed: Sequence[dict[Any, Any]],
        chosen: Sequence[Chosen],
        attributes: Sequence[Chosen],
        objects: Sequence[tuple[Any, type, dict[str, Any] | None]],
        functions: Sequence[Any],
    ) -> None:
        from torchlite.backends.native import contents

        every = [*containers, *keyed, *(x for x, _ in chosen), *(vars(x) for x, _ in attributes)]
        held = [(*x, *x.values()) if isinstance(x, dict) else tuple(x) for x in every]
        parts = [part(f) for f in functions for part in _OF_FUNCTIONS]
        # Kept, so that no other objects come to their addresses.
        self._kept = every, held, chosen, attributes, list(objects), list(functions), parts
        self._table = contents.noted(containers, keyed, chosen, attributes, objects, functions)
        self._holds = contents.holds

    def hold(self) -> bool:
        """Whether they do."""
        return self._holds(self._table)


@dataclass(eq=False)
class _Part:
    """Some containers and functions, which give few enough objects together."""

    contents: list[Collection[Any]] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)
    count: int = 0

    def objects(self) -> Any:
        """All objects, as an array."""
        return np.fromiter(_chained(chain(self.contents, starmap(map, self.found))), object, self.count)


def _is_plain(x: Any) -> bool:
    """Whether C can look into it: a list or dict, or one that is empty, so that it has no order beside that of the dict."""
    return type(x) in (list, dict) or (type(x) is OrderedDict and not x)


def _divided(them: Iterable[Any], condition: Callable[[Any], bool]) -> tuple[list[Any], list[Any]]:
    """Those for which it holds, and the others."""
    found: tuple[list[Any], list[Any]] = [], []
    for one in them:
        found[not condition(one)].append(one)
    return found


_chained = chain.from_iterable
_OF_FUNCTIONS = tuple(map(attrgetter, ("__code__", "__defaults__", "__kwdefaults__")))
