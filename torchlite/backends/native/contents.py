"""Whether dicts and lists hold the same objects as before."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from torchlite.backends.native.library import Family

Array = np.ndarray[Any, Any]

C = Family("contents.c", same_contents="an->o")

_LIST, _DICT, _KEYED_DICT, _SOME_OF_DICT, _ATTRIBUTES, _OBJECTS, _FUNCTIONS = range(7)
_INTERFACE = (
    "PyDict_Next",
    "PyDict_GetItem",
    "PyObject_GenericGetDict",
    "PyList_Size",
    "PyList_GetItem",
    "PyObject_Type",
    "PyFunction_GetCode",
    "PyFunction_GetDefaults",
    "PyFunction_GetKwDefaults",
)  # as `Contents` has them


def noted(
    containers: Iterable[Any],
    keyed: Iterable[dict[Any, Any]],
    chosen: Iterable[tuple[dict[Any, Any], Sequence[str]]],
    attributes: Iterable[tuple[Any, Sequence[str]]],
    objects: Sequence[tuple[Any, type, dict[str, Any] | None]],
    functions: Sequence[Any],
) -> Array:
    """The table for `holds`; it keeps neither containers nor what they hold.

    Args:
        containers: lists, and dicts whose values count.
        keyed: dicts whose keys and their order count as well.
        chosen: dicts of which only these keys count.
        attributes: objects, and which of their attributes count.
        objects: some with their classes and dicts; None where that does not count.
        functions: whose code and defaults count.
    """
    table = [ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value for name in _INTERFACE]
    for x in containers:
        kind, held = (_LIST, x) if type(x) is list else (_DICT, x.values())
        table += [kind, id(x), len(x), *map(id, held)]
    for x in keyed:
        table += [_KEYED_DICT, id(x), len(x), *map(id, chain.from_iterable(x.items()))]
    some = [(_SOME_OF_DICT, x, x, keys) for x, keys in chosen]
    for kind, x, held, keys in (*some, *((_ATTRIBUTES, x, vars(x), names) for x, names in attributes)):
        pairs = ((id(key), id(held[key]) if key in held else 0) for key in keys)
        table += [kind, id(x), len(keys), *chain.from_iterable(pairs)]
    table += [_OBJECTS, 0, len(objects)]
    for x, of, held in objects:
        table += [id(x), id(of), 0 if held is None else id(held)]
    table += [_FUNCTIONS, 0, len(functions)]
    for f in functions:
        parts = f.__code__, f.__defaults__, f.__kwdefaults__
        table += [id(f), *(0 if part is None else id(part) for part in parts)]
    return np.array(table, np.uintp)


def holds(table: Array) -> bool:
    """Whether they do."""
    return bool(C.same_contents(table, table.size))
