"""Whether objects that are found in fixed places are still the same ones: loops that run in C."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
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
        found = list(found)
        self._noted, hold = None, None
        noted = kernel("contents.Noted") if CPYTHON else None
        if noted is not None:
            from torchlite.backends.native.contents import can_hold

            plain, containers = _divided(containers, can_hold)
            plain_keyed, keyed = _divided(keyed, can_hold)
            plain_chosen, chosen = _divided(chosen, lambda one: can_hold(one[0]) and {*map(type, one[1])} == {str})
            given, found = _divided(found, lambda one: _attribute_of(one[0]) is not None)
            names = [(_attribute_of(function), givers) for function, givers in given]
            self._noted = noted(plain, plain_keyed, plain_chosen, list(attributes), objects, functions, names)
            hold = self._noted.hold
            attributes, objects, functions = [], [], []
        containers += [view for x in keyed for view in (x.keys(), x.values())]
        gets: list[Found] = [(x.get, keys, (_MISSING,) * len(keys)) for x, keys in chosen]
        gets += [(getattr, (x,) * len(names), names) for x, names in attributes]
        gets += [(type, [x for x, *_ in objects])] if objects else []
        gets += [(vars, with_dict)] if (with_dict := [x for x, _, held in objects if held is not None]) else []
        gets += [(part, functions) for part in _OF_FUNCTIONS] if functions else []
        empty, filled = [x for x in containers if not x], [x for x in containers if x]
        sizes = list(map(len, filled))
        contents = [x.values() if isinstance(x, Mapping) else x for x in filled]
        self._parts: list[_Part] = []
        for source, size in zip(contents, sizes, strict=True):
            self._part_for(size).contents.append(source)
        for function, *given in (*found, *gets):
            self._part_for(len(given[0])).found.append((function, *given))
        self._objects = [part.objects() for part in self._parts]  # kept, so that no other one comes to their addresses
        addresses = [objects.tobytes() for objects in self._objects]
        others = partial(_hold, hold, empty, filled, sizes, self._parts, addresses)
        self.hold: Callable[[], bool] = hold if hold is not None and not self._parts and not empty else others
        """Whether they are the same; False also where that can't be told, because a container grows meanwhile."""

    def _part_for(self, size: int) -> _Part:
        if not self._parts or self._parts[-1].count + size > _AT_ONCE:
            self._parts.append(_Part())
        part = self._parts[-1]
        part.count += size
        return part


@dataclass(eq=False)
class _Part:
    """Some containers and functions, which give few enough objects together."""

    contents: list[Collection[Any]] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)
    count: int = 0

    def objects(self) -> Any:
        """All objects, as an array."""
        return np.fromiter(_chained(chain(self.contents, starmap(map, self.found))), object, self.count)


def _hold(
    noted: Callable[[], bool] | None,
    empty: Sequence[Any],
    filled: Sequence[Any],
    sizes: list[int],
    parts: Sequence[_Part],
    addresses: Sequence[bytes],
) -> bool:
    if noted is not None and not noted():
        return False
    try:
        if any(empty) or list(map(len, filled)) != sizes:
            return False
        for part, known in zip(parts, addresses, strict=True):
            if part.objects().tobytes() != known:
                return False
    except (RuntimeError, ValueError, AttributeError):  # a cell or a slot is empty
        return False
    return True


def _attribute_of(function: Any) -> str | None:
    """The name of the attribute that a function of `operator` gives of an object; None for others."""
    names: Any = function.__reduce__()[-1] if type(function) is attrgetter else ()
    return names[0] if len(names) == 1 and "." not in names[0] else None


def _divided(them: Iterable[Any], condition: Callable[[Any], bool]) -> tuple[list[Any], list[Any]]:
    """Those for which it holds, and the others."""
    found: tuple[list[Any], list[Any]] = [], []
    for one in them:
        found[not condition(one)].append(one)
    return found


_chained = chain.from_iterable
_OF_FUNCTIONS = tuple(map(attrgetter, ("__code__", "__defaults__", "__kwdefaults__")))
