"""Whether dicts and lists hold the same objects as before."""

from __future__ import annotations

import ctypes
import gc
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain
from types import MappingProxyType
from typing import Any

import numpy as np

from torchlite.backends.native.library import Family
from torchlite.backends.native.object_lines import lines_of

Array = np.ndarray[Any, Any]

C = Family("contents.c", same_contents="anan->o", fetch_lines="an->o")

_LIST, _DICT, _KEYS, _KEYED_DICT, _SOME_OF_DICT, _ATTRIBUTES, _GIVEN, _EMPTY_SET, _OBJECTS, _FUNCTIONS = range(10)
_VIEWS = {type({}.keys()): _KEYS, type({}.values()): _DICT, MappingProxyType: _DICT}  # what counts in the dict
_INTERFACE = (
    "PyDict_Next",
    "PyDict_GetItemWithError",
    "PyObject_GenericGetDict",
    "PyObject_GetAttr",
    "PyList_Size",
    "PyList_GetItem",
    "PySet_Size",
    "PyObject_Type",
    "PyFunction_GetCode",
    "PyFunction_GetDefaults",
    "PyFunction_GetKwDefaults",
    "PyErr_Clear",
)  # as `Contents` has them

_NOTHING = object()  # what stands where C has NULL


def can_hold(x: Any) -> bool:
    """Whether C can look into a container: a list or dict, or one that is empty, so that it has no order beside that of the dict."""
    seen = _seen(x)
    return type(seen) in (list, dict, defaultdict) or (type(seen) in (OrderedDict, set) and not seen)


def _seen(x: Any) -> Any:
    """The dict that a view looks at; another container itself."""
    return gc.get_referents(x)[0] if type(x) in _VIEWS else x


class Noted:
    """What containers and objects hold now; all of it is kept, so that no other objects come to the addresses.

    Args:
        containers: lists, dicts whose values count, views of dicts, and sets that are empty.
        keyed: dicts whose keys and their order count as well.
        chosen: dicts of which only these keys count.
        attributes: objects, and which of their attributes count, as their dicts have them.
        objects: some with their classes and dicts; None where that does not count.
        functions: whose code and defaults count.
        given: names of attributes, and objects of which it counts what they give under that name.
    """

    def __init__(
        self,
        containers: Iterable[Any],
        keyed: Iterable[dict[Any, Any]],
        chosen: Iterable[tuple[dict[Any, Any], Sequence[str]]],
        attributes: Iterable[tuple[Any, Sequence[str]]],
        objects: Sequence[tuple[Any, type, dict[str, Any] | None]] = (),
        functions: Sequence[Any] = (),
        given: Iterable[tuple[str, Sequence[Any]]] = (),
    ) -> None:
        self._table = [ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value for name in _INTERFACE]
        self._kept: list[Any] = []
        self._looked_at: list[Any] = []
        for x in containers:
            kind, seen = _VIEWS.get(type(x), _DICT), _seen(x)
            if type(x) is list:
                self._note(_LIST, x, len(x), x)
            elif type(x) is set:
                self._note(_EMPTY_SET, x, 0, ())
            else:
                self._note(kind, seen, len(seen), seen if kind == _KEYS else seen.values())
        for x in map(_seen, keyed):
            self._note(_KEYED_DICT, x, len(x), chain.from_iterable(x.items()))
        some = [(_SOME_OF_DICT, _seen(x), _seen(x), keys) for x, keys in chosen]
        for kind, x, held, keys in (*some, *((_ATTRIBUTES, x, vars(x), names) for x, names in attributes)):
            self._looked_at.append(held)
            self._note(kind, x, len(keys), chain.from_iterable((key, held.get(key, _NOTHING)) for key in keys))
        for name, givers in given:
            self._looked_at += givers
            pairs = ((x, getattr(x, name)) for x in givers)
            self._note(_GIVEN, name, len(givers), chain.from_iterable(pairs))
        self._looked_at += [x for x, *_ in objects]
        parts = ((x, of, _NOTHING if held is None else held) for x, of, held in objects)
        self._note(_OBJECTS, None, len(objects), chain.from_iterable(parts))
        self._looked_at += functions
        for f in functions:
            defaults = (_NOTHING if x is None else x for x in (f.__defaults__, f.__kwdefaults__))
            self._note(_FUNCTIONS, None, 1, (f, f.__code__, *defaults))
        table, lines = np.array(self._table, np.uintp), lines_of(self._looked_at)
        self.hold: Callable[[], bool] = partial(C.same_contents, table, table.size, lines, lines.size)
        """Whether they do."""

    def _note(self, kind: int, of: Any, count: int, held: Iterable[Any]) -> None:
        held = list(held)
        self._kept += [of, held]
        self._looked_at.append(of)
        self._table += [kind, id(of), count, *(0 if x is _NOTHING else id(x) for x in held)]


def fetching(objects: Iterable[Any]) -> Callable[[], None]:
    """A function that asks for all of these objects at once, before they are looked at one after the other."""
    lines = lines_of(objects)
    return partial(C.fetch_lines, lines, lines.size)
