"""Which attributes of the program's objects a function asks for or sets while it is traced.

A trainer counts its steps beside the compiled one and keeps its losses; what the step does not read need not stay as it
was. So classes of the program are given methods that note each name, in the thread that traces and as long as it does.
What asks past these methods (`vars(x)`, copying, pickling) is taken to have read everything.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torchlite.tracing import Uncapturable

_METHODS = ("__getattribute__", "__setattr__", "__delattr__")
PAST_THEM = frozenset((*_METHODS, "getattr_static"))
"""Names by which a program can get at attributes without these methods."""
_EVERYTHING = frozenset(("__dict__", "__getstate__", "__reduce__", "__reduce_ex__", "__setstate__"))
_OF_MODULES = "torchlite.nn.module"
_LOOKING_UP = frozenset(("__getattr__", "__setattr__", "__delattr__", "_check_name", "_forget"))
_STORES = frozenset(("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"))
"""What those methods of modules look for in ``__dict__``, beside the name that they are asked for."""
_ON_THE_HEAP = 1 << 9  # Py_TPFLAGS_HEAPTYPE: made by a class statement


class Reads:
    """The names of attributes that were asked for or set, by the class of their object.

    Args:
        refused: why some attributes may not be read at all, by the object's id and the name.

    Attributes:
        named: what the code names that has run; None where that is not known.
    """

    def __init__(self, refused: Mapping[tuple[int, str], str]) -> None:
        self._names: dict[type, set[str]] = {}
        self._whole: set[type] = set()
        self._refused = refused
        self.named: frozenset[str] | None = None
        self._set_first: dict[tuple[int, str], bool] = {}
        self._looked_through: set[int] = set()

    def of(self, kind: type) -> tuple[str, ...] | None:
        """The names for objects of a class, in order; None for all that there are."""
        return None if kind in self._whole else tuple(sorted(self._names.get(kind, ())))

    def names(self) -> frozenset[str] | None:
        """What has been asked for in any way, of objects or of their classes; None where that is not known."""
        return None if self.named is None else self.named.union(*self._names.values())

    def only_set(self, x: Any, name: str) -> bool:
        """Whether an attribute of an object was set before anything asked for it."""
        return self._set_first.get((id(x), name), False) and id(x) not in self._looked_through

    def note(self, x: Any, name: str, caller: Any, *, sets: bool) -> None:
        """Take note of one.

        Raises:
            Uncapturable: where it may not be read.
        """
        kind, refused = type(x), self._refused
        names = self._names.setdefault(kind, set())
        if name not in _EVERYTHING:
            names.add(name)
            self._set_first.setdefault((id(x), name), sets)
            reason = refused.get((id(x), name)) if refused else None
        elif caller.f_code.co_name in _LOOKING_UP and caller.f_globals.get("__name__") == _OF_MODULES:
            names.update(_STORES)
            return
        else:
            self._whole.add(kind)
            self._looked_through.add(id(x))
            reason = next((why for (of, _), why in refused.items() if of == id(x)), None)
        if reason is not None:
            raise Uncapturable(reason)


def tells(cls: type) -> bool:
    """Whether all attributes of a class's objects are asked for by methods that can be replaced."""
    if type(cls).__setattr__ is not type.__setattr__ or type(cls).__delattr__ is not type.__delattr__:
        return False
    return all(
        is_made_by_class_statement(base) and (base.__module__ == _OF_MODULES or not _own_methods(base))
        for base in cls.__mro__[:-1]
    )


def is_made_by_class_statement(cls: type) -> bool:
    """Whether a class is one of Python's, so that its objects can be given another."""
    return bool(cls.__flags__ & _ON_THE_HEAP)


def _own_methods(cls: type) -> bool:
    attributes = vars(cls)
    return any(name in attributes and not _is_note(attributes[name]) for name in _METHODS)


class _Active(threading.local):
    reads: Reads | None = None


_active = _Active()
_lock = threading.Lock()
_watched: dict[type, int] = {}


@contextmanager
def noted(reads: Reads, classes: Iterable[type]) -> Iterator[None]:
    """Let what this thread asks of objects of these classes be noted inside the block."""
    classes = tuple(classes)
    _watch(classes, +1)
    _active.reads = reads
    try:
        yield
    finally:
        _active.reads = None
        _watch(classes, -1)


def _watch(classes: Iterable[type], change: int) -> None:
    """Let the methods be there while any thread needs them."""
    with _lock:
        for cls in classes:
            _watched[cls] = _watched.get(cls, 0) + change
            if (_watched[cls], change) == (1, 1):
                for name in _METHODS:
                    type.__setattr__(cls, name, _noting(cls, name))
            elif _watched[cls] == 0:
                del _watched[cls]
                for name in _METHODS:
                    type.__delattr__(cls, name)


def _noting(cls: type, method: str) -> Callable[..., Any]:
    """A method that notes the name that it is given and goes on as the class does without it."""

    def note(self: Any, name: str, *value: Any) -> Any:
        if _active.reads is not None:
            _active.reads.note(self, name, sys._getframe(1), sets=method == "__setattr__")
        return getattr(super(cls, self), method)(name, *value)

    return note


_CODE = _noting(object, "__getattribute__").__code__


def _is_note(x: Any) -> bool:
    return getattr(x, "__code__", None) is _CODE


def without_notes(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Attributes of a class, without the methods that are there while a thread traces."""
    if not _watched:
        return attributes
    return {name: x for name, x in attributes.items() if name not in _METHODS or not _is_note(x)}
