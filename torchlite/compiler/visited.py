"""Everything that a function leads to: closures, globals, attributes of modules and objects, hooks, groups of optimizers.

All Python values that the function could have read while it was traced are noted on the way.
"""

from __future__ import annotations

import functools
import os
import random
import sys
import threading
import types
import weakref
from array import array
from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

import numpy as np

from torchlite._tensor import Tensor
from torchlite.autograd.hooks import of_everything
from torchlite.compiler.arguments import containers
from torchlite.compiler.code_names import imported_module, is_library, names_in
from torchlite.compiler.executed import is_unread
from torchlite.compiler.holders import MISSING, Attributes, Slots, slots_of
from torchlite.compiler.noted import OF_FUNCTIONS, PLAIN, Hidden, Make, Place, Reading, shows_what_it_holds
from torchlite.compiler.reads import PAST_THEM, Reads, is_made_by_class_statement, tells, without_notes
from torchlite.compiler.settings import settings
from torchlite.compiler.world import OF_PYTHON, Named, has_stand_in
from torchlite.ops.generator import Generator, default_generator
from torchlite.tracing import Uncapturable

_LIMIT = 20_000
_SMALL = 1024
_VIEWS: Any = type({}.keys()), type({}.values()), type({}.items())


class Visited:
    """What a function leads to, object by object, with the Python values there, noted when it is made.

    Args:
        function: that.
        arguments, leaves: of the call.
        reads: the attributes of the program's objects that count; all without it.
        growing: ids of lists of which it does not matter what they hold.

    Attributes:
        places, readings, makes, arrays: what is watched.
        hidden: what must not change while the function is traced.
        given: containers among the arguments, which must not either, but may be others at the next call.
        imported: functions of the standard library that something else stands for, where the program has named them.
        names: of tensors, by id.
        numbers: containers of numbers that change from call to call, and under which keys.
        met: how often each list, tuple and tensor was found, by id.
        kept: all objects in the order in which they were found.
        telling: classes whose objects tell which of their attributes are read.
        refused: why some of these attributes can't be read: they lead to what can't be noted.

    Raises:
        Uncapturable: for an iterator among them, whose place can't be noted.
    """

    def __init__(
        self, function: Any, arguments: Any, leaves: Any, reads: Reads | None = None, growing: Collection[int] = ()
    ) -> None:
        self.reads = reads
        self.met: Counter[int] = Counter()
        self._growing = growing
        self.telling: set[type] = set()
        self.refused: dict[tuple[int, str], str] = {}
        self._untold = False
        self._attributes: deque[tuple[int, str, Any, str]] = deque()
        self.places: list[Place] = []
        self.readings: list[Reading] = []
        self.makes: list[Make] = []
        self.arrays: list[tuple[str, Any, Any]] = []
        self.names: dict[int, str] = {}
        self.numbers: list[tuple[dict[str, Any], Any]] = []
        self.imported: list[Named] = []
        self.hidden = [
            _stream(default_generator),
            Hidden("the module random", random.getstate, random.setstate),
            Hidden("numpy.random", np.random.get_state, np.random.set_state),
        ]
        self.given: list[Place] = []
        self._seen: set[int] = set()
        self._looked_into: set[tuple[int, int]] = set()
        self._met_in: dict[tuple[int, str], None] = {}
        self.kept: list[Any] = []
        self._visit(function, getattr(function, "__name__", "function"))
        for x, held in containers(arguments):
            self.met[id(x)] += 1
            keys, values = (tuple(held), tuple(held.values())) if isinstance(held, Mapping) else (None, tuple(held))
            self.given.append(Place("an argument", x, held, keys, values))
            self._visit(type(x), type(x).__name__)
        for leaf in leaves:
            if not isinstance(leaf, Tensor):
                self._visit(leaf, "an argument")
        self._visit(of_everything, "hooks of everything")
        self.places += settings()
        while self._attributes:
            of, key, value, name = self._attributes.popleft()
            found = self._found()
            try:
                self._visit(value, name)
            except Uncapturable as reason:
                self._forget(found)
                self.refused[of, key] = str(reason)
        if self._untold:
            self.telling.clear()
            if self.refused:
                raise Uncapturable(next(iter(self.refused.values())))

    def _visit(self, start: Any, name: str) -> None:
        queue = deque([(start, name)])
        while queue:
            x, name = queue.popleft()
            if type(x) in (list, deque, tuple, Tensor):
                self.met[id(x)] += 1
            if _is_plain(x) or id(x) in self._seen:
                continue
            self._seen.add(id(x))
            self.kept.append(x)
            if isinstance(x, Tensor):
                self.names[id(x)] = name
                queue.extend((hook, f"a hook of {name}") for hook in _hooks_of(x))
                if not is_library(type(x).__module__):
                    queue.append((type(x), type(x).__name__))
                own = own_attributes(x)
                if own:
                    attributes = vars(x)
                    values = tuple(attributes[key] for key in own)
                    self.places.append(Place(name, x, attributes, own, values, whole=False))
                    queue.extend((value, f"{name}.{key}") for key, value in zip(own, values, strict=True))
                continue
            if len(self._seen) > _LIMIT:
                raise Uncapturable(f"there is too much around the function to watch: more than {_LIMIT} objects")
            queue.extend(self._inside(x, name))

    def _found(self) -> list[int]:
        return [*map(len, self._lists()), len(self._met_in)]

    def _forget(self, found: list[int]) -> None:
        """Go back to what had been found before."""
        gone = {id(x) for x in self.kept[found[0] :]}
        for known, count in zip(self._lists(), found, strict=False):
            while len(known) > count:
                known.pop()
        while len(self._met_in) > found[-1]:
            self._met_in.popitem()
        self._seen -= gone
        self._looked_into = {(of, module) for of, module in self._looked_into if of not in gone}

    def _lists(self) -> tuple[Any, ...]:
        lists = self.kept, self.places, self.readings, self.makes, self.arrays, self.numbers, self.imported, self.hidden
        return *lists, self._attributes

    def _inside(self, x: Any, name: str) -> Iterator[tuple[Any, str]]:
        behind = _behind(x, name)
        if behind is not None:
            yield from behind
        elif isinstance(x, types.FunctionType):
            if not is_library(x.__module__):
                self.makes.append(Make(name, x, OF_FUNCTIONS))
                yield from self._function(x, name)
        elif isinstance(x, (np.ndarray, bytearray, array)):
            self._array(x, name)
        elif isinstance(x, PLAIN):
            yield from self._object(x, name)
        elif isinstance(x, _STREAMS):
            self.hidden.append(_stream(x))
        elif isinstance(x, functools._lru_cache_wrapper):
            self._untold = True  # what it has kept was computed of attributes that are not read again
            self.hidden.append(Hidden(f"the cache of {name}", lambda: x.cache_info().misses, lambda _: x.cache_clear()))
            yield x.__wrapped__, name
        elif isinstance(x, ContextVar):
            self.readings.append(Reading(name, _value_of, x, _value_of(x)))
            yield _value_of(x), name
        elif _is_logger(x):
            self.readings.append(Reading(f"the level of {name}", _level_of, x, _level_of(x)))
        elif isinstance(x, _CONTAINERS):
            yield from self._container(x, name)
        elif isinstance(x, type):
            if not is_library(x.__module__):
                if getattr(x, "_is_runtime_protocol", False):
                    self._untold = True  # isinstance looks whether attributes are there
                yield from self._mapping(x, vars(x), x.__name__)
                yield from ((base, base.__name__) for base in x.__mro__[1:])
        elif isinstance(x, types.WrapperDescriptorType):
            self._untold |= x.__name__ in PAST_THEM
        elif isinstance(x, types.ModuleType):
            if not is_library(x.__name__):
                names = [n for n in vars(x) if not n.startswith("__")]
                yield from self._named(x, vars(x), x.__name__, names, frozenset())
        elif hasattr(type(x), "__next__"):
            raise Uncapturable(f"{name} is an iterator, which goes on at every call")
        else:
            yield from self._object(x, name)

    def _array(self, x: Any, name: str) -> None:
        """The elements of an array of NumPy or of Python's."""
        if isinstance(x, np.ndarray):
            if x.size > _SMALL or x.dtype.hasobject:
                raise Uncapturable(f"{name} is an array of NumPy, too large to be watched; make it a tensor")
            self.arrays.append((name, x, x.copy()))
        else:
            if len(x) > _SMALL:
                raise Uncapturable(f"{name} is an array of Python's, too large to be watched; make it a tensor")
            self.places.append(Place(name, x, x, None, tuple(x)))

    def _container(self, x: Any, name: str) -> Iterator[tuple[Any, str]]:
        """What a container holds, and what it has if its class is the program's."""
        if not isinstance(x, types.MappingProxyType) and not shows_what_it_holds(x):
            raise Uncapturable(f"{name} has methods of its own that tell what it holds")
        if isinstance(x, (dict, types.MappingProxyType)):
            yield from self._mapping(x, x, name)
        elif id(x) in self._growing:
            return
        else:
            if isinstance(x, (list, deque, set)):
                self.places.append(Place(name, x, x, None, tuple(x)))
            yield from ((part, f"{name}[{i}]") for i, part in enumerate(x))
        yield from self._object(x, name, of_program=True)

    def _object(self, x: Any, name: str, *, of_program: bool = False) -> Iterator[tuple[Any, str]]:
        """Class and attributes of an object.

        Args:
            x: the object.
            name: of it.
            of_program: whether they only count where its class is the program's.
        """
        if of_program and is_library(type(x).__module__):
            return
        yield type(x), type(x).__name__
        if is_made_by_class_statement(type(x)):
            has_dict = hasattr(x, "__dict__") and not isinstance(x, threading.local)
            self.makes.append(Make(name, x, ("__class__", "__dict__") if has_dict else ("__class__",)))
        if hasattr(type(x), "_changing_numbers"):
            self.numbers += x._changing_numbers()
        if hasattr(x, "__dict__") and not isinstance(x, threading.local):
            if is_library(type(x).__module__) or hasattr(type(x), "_changing_numbers") or not tells(type(x)):
                yield from self._mapping(x, x.__dict__, name)
            else:
                self._telling(x, name)
        held: list[tuple[Any, tuple[str, ...]]] = [
            (slots, slots.keys()) for slots in (Slots(x, cls) for cls in type(x).__mro__ if slots_of(cls))
        ]
        if isinstance(x, threading.local):  # its attributes, in the thread that asks
            held.append((Attributes(x), tuple(vars(x))))
        for attributes, names in held:
            values = tuple(attributes.get(key, MISSING) for key in names)
            self.places.append(Place(name, x, attributes, names, values, whole=False))
            yield from ((value, f"{name}.{key}") for key, value in zip(names, values, strict=True))

    def _telling(self, x: Any, name: str) -> None:
        """The attributes of an object that tells which of them are read."""
        attributes, kind = vars(x), type(x)
        self.telling.add(kind)
        names = None if self.reads is None else self.reads.of(kind)
        whole = names is None
        keys = tuple(attributes) if names is None else names
        values = tuple(attributes.get(key, MISSING) for key in keys)
        self.places.append(Place(name, x, attributes, keys, values, whole=whole))
        self._attributes.extend(
            (id(x), key, value, f"{name}.{key}")
            for key, value in zip(keys, values, strict=True)
            if value is not MISSING and not _is_plain(value)
        )

    def _mapping(self, of: Any, x: Mapping[Any, Any], name: str) -> Iterator[tuple[Any, str]]:
        found = without_notes(x) if isinstance(of, type) else x
        place = Place(name, of, x, tuple(found), tuple(found.values()))
        self.places.append(place)
        names = self.reads.names() if self.reads is not None and isinstance(of, type) else None
        for key, value in found.items():
            if names is not None and is_unread(of, key, value, names):
                place.leave_out(key)
                continue
            yield value, f"{name}.{key}" if isinstance(key, str) else f"{name}[...]"

    def _function(self, x: types.FunctionType, name: str) -> Iterator[tuple[Any, str]]:
        names, attributes, modules = names_in(x.__code__)
        for variable, cell in zip(x.__code__.co_freevars, x.__closure__ or (), strict=True):
            value = content_of(cell)
            self.readings.append(Reading(variable, content_of, cell, value))
            if isinstance(value, types.ModuleType):
                yield from self._module(x, value, attributes)
            elif value is not MISSING and self._is_first(cell, ""):
                yield value, variable
        self._untold |= not (attributes | names).isdisjoint(PAST_THEM)
        yield from self._named(x, x.__globals__, x.__module__, names, attributes)
        for module in modules:
            yield from self._module(x, imported_module(module, x.__globals__), attributes)
        yield from ((default, name) for default in x.__defaults__ or ())
        if x.__kwdefaults__:
            yield x.__kwdefaults__, name
        if x.__dict__:
            yield x.__dict__, name

    def _is_first(self, holder: Any, name: str) -> bool:
        """Whether no other function has led to what a namespace or cell holds, which is then met but once."""
        known = len(self._met_in)
        self._met_in[id(holder), name] = None
        return len(self._met_in) > known

    def _module(self, x: types.FunctionType, module: Any, attributes: Any) -> Iterator[tuple[Any, str]]:
        """What a function finds in a module that it names."""
        if module is os and not attributes.isdisjoint(("environ", "getenv")):
            yield os.environ, "os.environ"
        if isinstance(module, types.ModuleType) and not is_library(module.__name__):
            key = (id(x), id(module))
            if key not in self._looked_into:
                self._looked_into.add(key)
                yield from self._named(x, vars(module), module.__name__, attributes, attributes)

    def _named(
        self, x: Any, scope: dict[str, Any], module: str, names: Any, attributes: Any
    ) -> Iterator[tuple[Any, str]]:
        """What a function finds in a namespace."""
        found = tuple(sorted(names))
        values = tuple(scope.get(n, MISSING) for n in found)
        if found:
            self.places.append(Place(f"globals of {module}", x, scope, found, values, whole=False))
        for n, value in zip(found, values, strict=True):
            if value is MISSING:
                if n in OF_PYTHON:
                    self.imported.append((scope, n, value))
                continue
            if has_stand_in(value):
                self.imported.append((scope, n, value))
            elif isinstance(value, types.ModuleType):
                yield from self._module(x, value, attributes)
            elif self._is_first(scope, n):
                yield value, n


_CONTAINERS = (dict, list, tuple, deque, set, frozenset, types.MappingProxyType)
_STREAMS = (Generator, random.Random, np.random.Generator, np.random.BitGenerator, np.random.RandomState)


def _behind(x: Any, name: str) -> list[tuple[Any, str]] | None:
    """What is behind an object that holds nothing itself; None for one that may."""
    if isinstance(x, memoryview):
        return [(x.obj, name)]
    if isinstance(x, _VIEWS):
        return [(x.mapping, name)]
    if isinstance(x, weakref.ref):
        return [(x(), name)]
    if isinstance(x, types.MethodType):
        return [(x.__func__, name), (x.__self__, name.rpartition(".")[0] or name)]
    if isinstance(x, functools.partial):
        return [(part, name) for part in (x.func, x.args, x.keywords)]
    if isinstance(x, (staticmethod, classmethod)):
        return [(x.__func__, name)]
    if isinstance(x, property):
        return [(part, name) for part in (x.fget, x.fset) if part is not None]
    if isinstance(x, (types.BuiltinFunctionType, types.MethodWrapperType)):
        own = isinstance(x.__self__, (types.ModuleType, type, type(None)))
        return [] if own else [(x.__self__, name)]
    if _is_ours(type(x).__module__) and "__wrapped__" in getattr(x, "__dict__", ()):  # a compiled function
        return [(x.__wrapped__, name)]
    return [] if isinstance(x, (np.ufunc, types.GenericAlias)) else None


def _stream(x: Any) -> Hidden:
    """A random stream."""
    if isinstance(x, Generator):
        return Hidden("a generator: its seed", x.state, x.restore)
    if isinstance(x, random.SystemRandom):
        raise Uncapturable("a stream of random numbers of the operating system is around the function")
    if isinstance(x, random.Random):
        return Hidden("a random.Random", x.getstate, x.setstate)
    if isinstance(x, np.random.RandomState):
        return Hidden("a numpy.random.RandomState", x.get_state, x.set_state)
    bits: Any = x.bit_generator if isinstance(x, np.random.Generator) else x
    return Hidden("a generator of NumPy", lambda: bits.state, lambda state: setattr(bits, "state", state))


def _is_plain(x: Any) -> bool:
    """Whether there is nothing inside: a number or text, unless of a class of the program's, which has methods."""
    return isinstance(x, PLAIN) and (type(x) in PLAIN or is_library(type(x).__module__))


def _hooks_of(x: Tensor) -> Iterator[Any]:
    """What is called with the gradient of a tensor."""
    node = vars(x).get("_node")
    for hooks in (getattr(node, "hooks", None), getattr(node, "after", None)):
        yield from (hooks or {}).values()


def _is_ours(module: str | None) -> bool:
    return module is not None and (module == "torchlite" or module.startswith("torchlite."))


def _value_of(variable: ContextVar[Any]) -> Any:
    return variable.get(MISSING)


def _is_logger(x: Any) -> bool:
    logging = sys.modules.get("logging")
    return logging is not None and isinstance(x, logging.Logger)


def _level_of(logger: Any) -> int:
    level: int = logger.getEffectiveLevel()
    return level


def own_attributes(x: Tensor) -> tuple[str, ...]:
    """Names of the attributes that the program has given a tensor."""
    attributes = vars(x)
    return tuple(key for key in attributes if key not in _OF_TENSORS) if len(attributes) > 2 else ()


_OF_TENSORS = frozenset(("_data", "_storage", "_node", "_grad", "_base", "_recipe"))


def content_of(cell: types.CellType) -> Any:
    """The content of a cell of a closure, `MISSING` where it is empty."""
    try:
        return cell.cell_contents
    except ValueError:
        return MISSING
