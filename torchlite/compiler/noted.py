"""What is noted of a place where Python values are kept: what it holds, whether that is still so, and how to put it back."""

from __future__ import annotations

import abc
import pickle
import threading
import types
from array import array
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from operator import is_
from typing import Any

import numpy as np

from torchlite.compiler.holders import MISSING, Attributes, Elements, OfClass, Slots
from torchlite.compiler.reads import without_notes

PLAIN = (int, float, complex, bool, str, bytes, type(None), type(Ellipsis), range, slice, np.generic, np.dtype)
"""Types of values that have nothing inside."""

NUMBERS = (int, float, np.float64)
"""Types of numbers that a program may read at every replay; the last is what NumPy computes of the others."""

_SHORT = 64
"""As many elements of a list are looked at one by one."""


@dataclass
class Place:
    """One container, and what it held.

    Attributes:
        name: for messages.
        of: the object that has it, or the container itself.
        container: a mapping, list, set, deque or array of Python's numbers.
        keys: of a mapping, those that count.
        values: in the order of the keys, or of the container.
        whole: whether other keys may not come up.
        size: how many there were, where ``whole``.
        direct: whether the container is compared as it is, and not the values of some keys.
    """

    name: str
    of: Any
    container: Any
    keys: tuple[Any, ...] | None
    values: tuple[Any, ...]
    whole: bool = True
    size: int = 0
    direct: bool = True

    def __post_init__(self) -> None:
        self.size = self._size() if self.whole else 0
        self.direct = self.whole

    def holds(self) -> bool:
        """Whether nothing has changed."""
        if self.whole and self._size() != self.size:
            return False
        if self.direct and self._holds_the_same_objects():
            return True
        ordered = self.direct and self.container is self.of and isinstance(self.container, dict)
        if ordered and not _all_same(tuple(self.container), self.keys):
            return False
        now = self.now()
        if not _all_same(now, self.values):
            return False
        self.values = now
        return True

    def _size(self) -> int:
        container = self.container
        return len(without_notes(container) if isinstance(container, types.MappingProxyType) else container)

    def _holds_the_same_objects(self) -> bool:
        if self.keys is None:
            return all(map(is_, self.container, self.values))
        return all(map(is_, self.container, self.keys)) and all(map(is_, self.container.values(), self.values))

    def now(self) -> tuple[Any, ...]:
        """What it holds now."""
        if self.keys is None:
            return tuple(self.container)
        return tuple(self.container.get(key, MISSING) for key in self.keys)

    def leave_out(self, key: Any) -> None:
        """Let the value of a key change."""
        if self.keys is None:
            self.container = elements = Elements(self.container)
            self.keys, self.values = elements.keys(), (*self.values, len(self.values))
            self.whole = False
        if key in self.keys:
            i = self.keys.index(key)
            self.keys, self.values = self.keys[:i] + self.keys[i + 1 :], self.values[:i] + self.values[i + 1 :]
            self.direct = False

    def is_in(self, container: Any) -> bool:
        """Whether it is what such a container holds, or the list of which that gives the elements."""
        if self.container is container:
            return True
        if isinstance(container, Elements):
            return self.of is container.of and isinstance(self.container, (list, Elements))
        if isinstance(container, Slots):
            mine = self.container
            return isinstance(mine, Slots) and mine.of is container.of and mine.kind is container.kind
        return (
            isinstance(container, OfClass)
            and self.of is container.of
            and isinstance(self.container, types.MappingProxyType)
        )

    def changeable(self) -> Any:
        """What a replay can change its values in, one by one; None where it can't."""
        if isinstance(self.of, types.ModuleType):
            return None
        if self.keys is not None and isinstance(self.container, dict):
            return self.container if _are_of_python(self.container, _CHANGING) else None
        if isinstance(self.of, type):
            ordinary = isinstance(self.container, types.MappingProxyType) and type(self.of) in (type, abc.ABCMeta)
            return OfClass(self.of) if ordinary else None
        if isinstance(self.container, Slots):
            return None if isinstance(self.of, threading.local) else self.container
        if type(self.container) is list and self.whole and len(self.container) == self.size <= _SHORT:
            return Elements(self.container)
        return None

    def pairs(self) -> Iterator[tuple[Any, Any, Any]]:
        """Keys, what was there, and what is; the indices of a list are texts."""
        keys = map(str, range(len(self.values))) if self.keys is None else self.keys
        yield from zip(keys, self.values, self.now(), strict=True)

    def difference(self) -> str:
        """What has changed, in words."""
        now = self.now()
        if self.whole and self._size() != self.size:
            return f"{self.name} had {self.size} elements and has {self._size()}"
        keys = range(len(now)) if self.keys is None else self.keys
        for key, value, before in zip(keys, now, self.values, strict=False):
            if not same(value, before):
                return f"{self.name}[{short(key)}] was {short(before)} and is {short(value)}"
        return f"{self.name} is another"

    def restore(self) -> None:
        """Put back what it held."""
        container = self.container
        kind = _class_of(container)
        if self.keys is None:
            if _all_same(tuple(container), self.values):
                return
            if isinstance(container, (list, deque)):
                kind.clear(container)
                kind.extend(container, self.values)
            elif isinstance(container, set):
                kind.clear(container)
                kind.update(container, self.values)
            elif isinstance(container, bytearray):
                container[:] = bytes(self.values)
            elif isinstance(container, array):
                container[:] = array(container.typecode, self.values)
        elif isinstance(self.of, type) and isinstance(container, types.MappingProxyType):
            self._restore_class(self.of, self.keys)
        elif isinstance(container, (dict, Attributes, Slots)):
            if self.whole and self.direct and isinstance(container, dict):
                known = set(self.keys)
                for key in [k for k in container if k not in known]:
                    kind.__delitem__(container, key)
            for key, value in zip(self.keys, self.values, strict=True):
                if container.get(key, MISSING) is value:
                    continue
                if value is MISSING:
                    kind.__delitem__(container, key)
                else:
                    kind.__setitem__(container, key, value)

    def _restore_class(self, cls: type, keys: tuple[Any, ...]) -> None:
        """Put back the attributes of a class, whose dict can only be read."""
        before = dict(zip(keys, self.values, strict=True))
        now = dict(without_notes(vars(cls)))
        for key in now.keys() - before.keys() if self.direct else ():
            type.__delattr__(cls, key)
        for key, value in before.items():
            if now.get(key, MISSING) is not value:
                type.__setattr__(cls, key, value)


@dataclass
class Reading:
    """What a function gives of an object: the content of a cell, the value of a context variable."""

    name: str
    read: Callable[[Any], Any]
    of: Any
    value: Any

    def now(self) -> Any:
        """What it gives now."""
        return self.read(self.of)

    def difference(self) -> str:
        """What has changed, in words."""
        return f"{self.name} was {short(self.value)} and is {short(self.now())}"

    def is_of_cell(self) -> bool:
        """Whether it is the content of a cell."""
        return isinstance(self.of, types.CellType)

    def restore(self) -> None:
        """Put back what was there."""
        if isinstance(self.of, types.CellType) and self.now() is not self.value:
            if self.value is MISSING:
                del self.of.cell_contents
            else:
                self.of.cell_contents = self.value
        elif isinstance(self.of, ContextVar) and self.value is not MISSING and self.now() is not self.value:
            self.of.set(self.value)


OF_FUNCTIONS = "__code__", "__defaults__", "__kwdefaults__"


@dataclass
class Make:
    """What an object is made of, all of which can be exchanged: its class and its dict, or the code of a function and its defaults.

    Attributes:
        name: for messages.
        of: the object.
        parts: names of these.
        values: of these.
    """

    name: str
    of: Any
    parts: tuple[str, ...]
    values: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        self.values = self.now()

    def now(self) -> tuple[Any, ...]:
        """What it is made of now; that is not noted as what the function asks for."""
        read = object.__getattribute__
        return tuple(type(self.of) if part == "__class__" else read(self.of, part) for part in self.parts)

    def difference(self) -> str | None:
        """What has changed, in words; None where nothing has."""
        for part, now, before in zip(self.parts, self.now(), self.values, strict=True):
            if now is not before:
                return f"{self.name}.{part} is another"
        return None

    def restore(self) -> None:
        """Put back what it was made of."""
        for part, now, before in zip(self.parts, self.now(), self.values, strict=True):
            if now is not before:
                setattr(self.of, part, before)


class Hidden:
    """State that a function changes when it is asked for something: a random stream, what a cache has not found.

    Args:
        name: in words.
        get, put: how to ask for it, and how to put it back.
    """

    def __init__(self, name: str, get: Callable[[], Any], put: Callable[[Any], Any]) -> None:
        self.name, self._get, self._put = name, get, put
        self._state = get()
        self._bytes = pickle.dumps(self._state)

    def changed(self) -> bool:
        """Whether it is another now."""
        return pickle.dumps(self._get()) != self._bytes

    def restore(self) -> None:
        """Put it back."""
        if self.changed():
            self._put(self._state)


def same(now: Any, before: Any) -> bool:
    """Whether two plain values are one, or equal to the last bit."""
    if now is before:
        return True
    kind = type(now)
    if kind is not type(before):
        return False
    if kind in (float, complex):
        return repr(now) == repr(before)  # -0.0 is not 0.0, and NaN is NaN
    if kind is types.MethodType:
        return now.__func__ is before.__func__ and now.__self__ is before.__self__
    if isinstance(now, np.generic):
        return bool(now.dtype == before.dtype) and now.tobytes() == before.tobytes()
    return kind in (int, str, bytes, bool, range, slice) and bool(now == before)


def _class_of(container: Any) -> Any:
    """The class of a container: Python's own where the program has derived one from it."""
    return next((kind for kind in _OF_PYTHON if isinstance(container, kind)), type(container))


_OF_PYTHON = (OrderedDict, dict, list, deque, set, tuple, frozenset)
_CHANGING = "__getitem__", "__setitem__", "__delitem__"
_SHOWING = "__iter__", "__len__", "get", "items", "keys", "values"


def shows_what_it_holds(container: Any) -> bool:
    """Whether the methods that tell what a container holds are Python's, and none of the program's."""
    return type(container) in _OF_PYTHON or _are_of_python(container, _SHOWING)


def _are_of_python(container: Any, methods: tuple[str, ...]) -> bool:
    kind = _class_of(container)
    return all(getattr(type(container), name) is getattr(kind, name) for name in methods if hasattr(kind, name))


def are_other_numbers(before: Any, now: Any) -> bool:
    """Whether two are numbers of one type, and not the same."""
    return type(before) is type(now) and type(now) in NUMBERS and not same(now, before)


def _all_same(now: Any, before: Any) -> bool:
    return len(now) == len(before) and all(map(same, now, before))


def short(value: Any) -> str:
    """A value, for messages."""
    if value is MISSING:
        return "missing"
    return repr(value)[:60] if isinstance(value, PLAIN) else f"another {type(value).__name__}"
