"""What a function finds around it: closures, globals, attributes of modules, groups of optimizers.

All Python values that the function could have read while it was traced are noted. A replay is right only as long as
they are the same; and where tracing itself has changed one, a replay would leave that change out.
"""

from __future__ import annotations

import dis
import functools
import importlib.util
import os
import pickle
import random
import sys
import threading
import types
import weakref
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from operator import attrgetter, is_
from typing import Any

import numpy as np

from torchlite._tensor import Tensor
from torchlite.autograd.hooks import of_everything
from torchlite.compiler.arguments import containers
from torchlite.compiler.identities import Found
from torchlite.compiler.world import Named, acts
from torchlite.ops.generator import Generator, default_generator
from torchlite.tracing import Uncapturable

_PLAIN = (int, float, complex, bool, str, bytes, type(None), type(Ellipsis), range, slice, np.generic, np.dtype)
_LIMIT = 20_000
_SMALL = 1024


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
        self.size = len(self.container) if self.whole else 0
        self.direct = self.whole

    def holds(self) -> bool:
        """Whether nothing has changed."""
        container = self.container
        if self.whole and len(container) != self.size:
            return False
        if self.direct and self._holds_the_same_objects():
            return True
        now = self.now()
        if not _all_same(now, self.values):
            return False
        self.values = now
        return True

    def _holds_the_same_objects(self) -> bool:
        if self.keys is None:
            return all(map(is_, self.container, self.values))
        return all(map(is_, self.container, self.keys)) and all(map(is_, self.container.values(), self.values))

    def now(self) -> tuple[Any, ...]:
        """What it holds now."""
        if self.keys is None:
            return tuple(self.container)
        return tuple(self.container.get(key, _MISSING) for key in self.keys)

    def leave_out(self, key: Any) -> None:
        """Let the value of a key change."""
        if self.keys is not None and key in self.keys:
            i = self.keys.index(key)
            self.keys, self.values = self.keys[:i] + self.keys[i + 1 :], self.values[:i] + self.values[i + 1 :]
            self.direct = False

    def difference(self) -> str:
        """What has changed, in words."""
        now = self.now()
        if self.whole and len(self.container) != self.size:
            return f"{self.name} had {self.size} elements and has {len(self.container)}"
        keys = range(len(now)) if self.keys is None else self.keys
        for key, value, before in zip(keys, now, self.values, strict=False):
            if not same(value, before):
                return f"{self.name}[{_short(key)}] was {_short(before)} and is {_short(value)}"
        return f"{self.name} is another"

    def restore(self) -> None:
        """Put back what it held."""
        container = self.container
        if self.keys is None:
            if _all_same(tuple(container), self.values):
                return
            if isinstance(container, (list, deque)):
                container.clear()
                container.extend(self.values)
            elif isinstance(container, set):
                container.clear()
                container.update(self.values)
            elif isinstance(container, bytearray):
                container[:] = bytes(self.values)
            elif isinstance(container, array):
                container[:] = array(container.typecode, self.values)
        elif isinstance(container, (dict, Attributes)):
            if self.whole and self.direct and isinstance(container, dict):
                known = set(self.keys)
                for key in [k for k in container if k not in known]:
                    del container[key]
            for key, value in zip(self.keys, self.values, strict=True):
                if value is not _MISSING and container.get(key, _MISSING) is not value:
                    container[key] = value


_MISSING = object()


class Attributes:
    """The attributes of an object that keeps them in slots, by name like those in a dict."""

    def __init__(self, of: Any) -> None:
        self.of = of

    def get(self, name: str, otherwise: Any = None) -> Any:
        """An attribute."""
        return getattr(self.of, name, otherwise)

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self.of, name, value)


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

    def restore(self) -> None:
        """Put back what was there."""
        if isinstance(self.of, types.CellType) and self.now() is not self.value:
            if self.value is _MISSING:
                del self.of.cell_contents
            else:
                self.of.cell_contents = self.value
        elif isinstance(self.of, ContextVar) and self.value is not _MISSING and self.now() is not self.value:
            self.of.set(self.value)


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


_content_of_cell = attrgetter("cell_contents")


class Surroundings:
    """The Python values around a function, noted when it is made.

    Attributes:
        places, readings, arrays: what is watched.
        hidden: what must not change while the function is traced.
        given: containers among the arguments, which must not either, but may be others at the next call.
        imported: functions of the standard library that ask something of the world, where the program has named them.
        names: of tensors, by id.
        numbers: containers of numbers that change from call to call, and under which keys.
        kept: all objects in the order in which they were found.
        left_out: the places that may change.

    Raises:
        Uncapturable: for an iterator among them, whose place can't be noted.
    """

    def __init__(self, function: Any, arguments: Any, leaves: Any) -> None:
        self.places: list[Place] = []
        self.readings: list[Reading] = []
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
        self.kept: list[Any] = []
        self.left_out: list[tuple[Any, Any]] = []
        self._visit(function, getattr(function, "__name__", "function"))
        for x, held in containers(arguments):
            keys, values = (tuple(held), tuple(held.values())) if isinstance(held, Mapping) else (None, tuple(held))
            self.given.append(Place("an argument", x, held, keys, values))
            self._visit(type(x), type(x).__name__)
        for leaf in leaves:
            if not isinstance(leaf, Tensor):
                self._visit(leaf, "an argument")
        self._visit(of_everything, "hooks of everything")

    def change(self) -> str | None:
        """The first difference to what was noted, None without one."""
        for place in self.places:
            if not place.holds():
                return place.difference()
        for reading in self.readings:
            now = reading.now()
            if not same(now, reading.value):
                return f"{reading.name} was {_short(reading.value)} and is {_short(now)}"
        return self.change_of_arrays()

    def change_of_arrays(self) -> str | None:
        """The first array of NumPy that has other elements."""
        for name, now, copy in self.arrays:
            if now.shape != copy.shape or now.dtype != copy.dtype or now.tobytes() != copy.tobytes():
                return f"the array {name} has other elements"
        return None

    def watched(self) -> tuple[list[Any], list[Found]]:
        """What `Identities` watches in their place."""
        read: dict[Callable[[Any], Any], list[Any]] = {}
        for reading in self.readings:
            filled_cell = reading.read is _content and reading.value is not _MISSING
            read.setdefault(_content_of_cell if filled_cell else reading.read, []).append(reading.of)
        chosen = [(place.container.get, place.keys or ()) for place in self.places if not place.direct]
        whole = [place.container for place in self.places if place.direct]
        keys = [x.keys() for place in self.places if (x := place.container) is place.of and isinstance(x, dict)]
        return [*whole, *keys], [*chosen, *read.items()]

    def effect(self) -> str | None:
        """What has changed of them, or of random streams and arguments, since they were noted."""
        for hidden in self.hidden:
            if hidden.changed():
                return f"the state of {hidden.name}"
        for place in self.given:
            if not place.holds():
                return place.difference()
        return self.change()

    def restore(self) -> None:
        """Undo what tracing has changed."""
        noted: list[Hidden | Place | Reading] = [*self.hidden, *self.given, *self.places, *self.readings]
        for one in noted:
            one.restore()

    def hold(self, x: Any) -> bool:
        """Whether an object is among them."""
        return id(x) in self._seen

    def leave_out(self, container: Any, key: Any) -> None:
        """Let ``container[key]`` change."""
        self.left_out.append((container, key))
        value = container.get(key)
        self.places = [place for place in self.places if place.container is not value]
        for place in self.places:
            if place.container is container:
                place.leave_out(key)

    def changed_numbers(self) -> set[str]:
        """The keys of optimizers' groups that hold another number now."""
        groups = {id(container) for container, keys in self.numbers if keys is not None}
        places = (place for place in self.places if id(place.container) in groups)
        return {
            key
            for place in places
            for key, now, before in zip(place.keys or (), place.now(), place.values, strict=True)
            if not same(now, before) and isinstance(now, (int, float, tuple)) and not isinstance(now, bool)
        }

    def _visit(self, start: Any, name: str) -> None:
        queue = deque([(start, name)])
        while queue:
            x, name = queue.popleft()
            if isinstance(x, _PLAIN) or id(x) in self._seen:
                continue
            self._seen.add(id(x))
            self.kept.append(x)
            if isinstance(x, Tensor):
                self.names[id(x)] = name
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

    def _inside(self, x: Any, name: str) -> Iterator[tuple[Any, str]]:
        if isinstance(x, types.FunctionType):
            if not is_library(x.__module__):
                yield from self._function(x, name)
        elif isinstance(x, np.ndarray):
            if x.size > _SMALL or x.dtype.hasobject:
                raise Uncapturable(f"{name} is an array of NumPy, too large to be watched; make it a tensor")
            self.arrays.append((name, x, x.copy()))
        elif isinstance(x, (bytearray, array)):
            if len(x) > _SMALL:
                raise Uncapturable(f"{name} is an array of Python's, too large to be watched; make it a tensor")
            self.places.append(Place(name, x, x, None, tuple(x)))
        elif isinstance(x, memoryview):
            yield x.obj, name
        elif isinstance(x, _STREAMS):
            self.hidden.append(_stream(x))
        elif isinstance(x, functools._lru_cache_wrapper):
            self.hidden.append(Hidden(f"the cache of {name}", lambda: x.cache_info().misses, lambda _: x.cache_clear()))
            yield x.__wrapped__, name
        elif isinstance(x, ContextVar):
            self.readings.append(Reading(name, _value_of, x, _value_of(x)))
            yield _value_of(x), name
        elif isinstance(x, weakref.ref):
            yield x(), name
        elif _is_logger(x):
            self.readings.append(Reading(f"the level of {name}", _level_of, x, _level_of(x)))
        elif isinstance(x, types.MethodType):
            yield x.__func__, name
            yield x.__self__, name.rpartition(".")[0] or name
        elif isinstance(x, functools.partial):
            yield from ((part, name) for part in (x.func, x.args, x.keywords))
        elif _is_ours(type(x).__module__) and "__wrapped__" in getattr(x, "__dict__", ()):  # a compiled function
            yield x.__wrapped__, name
        elif isinstance(x, (staticmethod, classmethod)):
            yield x.__func__, name
        elif isinstance(x, property):
            yield from ((part, name) for part in (x.fget, x.fset) if part is not None)
        elif isinstance(x, (dict, types.MappingProxyType)):
            yield from self._mapping(x, x, name)
        elif isinstance(x, (list, tuple, deque, set, frozenset)):
            if isinstance(x, (list, deque, set)):
                self.places.append(Place(name, x, x, None, tuple(x)))
            yield from ((part, f"{name}[{i}]") for i, part in enumerate(x))
        elif isinstance(x, type):
            if not is_library(x.__module__):
                yield from self._mapping(x, vars(x), x.__name__)
                yield from ((base, base.__name__) for base in x.__mro__[1:])
        elif isinstance(x, (types.BuiltinFunctionType, types.MethodWrapperType)):
            if not isinstance(x.__self__, (types.ModuleType, type, type(None))):
                yield x.__self__, name
        elif isinstance(x, (types.ModuleType, np.ufunc)):
            return
        elif hasattr(type(x), "__next__"):
            raise Uncapturable(f"{name} is an iterator, which goes on at every call")
        else:
            yield type(x), type(x).__name__
            if hasattr(type(x), "_changing_numbers"):
                self.numbers += x._changing_numbers()
            if hasattr(x, "__dict__") and not isinstance(x, threading.local):
                yield from self._mapping(x, x.__dict__, name)
            slots = [slot for cls in type(x).__mro__ for slot in _slots(cls) if _is_slot(type(x), slot)]
            if isinstance(x, threading.local):  # its attributes, in the thread that asks
                slots += vars(x)
            if slots:
                attributes = Attributes(x)
                values = tuple(attributes.get(slot, _MISSING) for slot in slots)
                self.places.append(Place(name, x, attributes, tuple(slots), values, whole=False))
                yield from ((value, f"{name}.{slot}") for slot, value in zip(slots, values, strict=True))

    def _mapping(self, of: Any, x: Mapping[Any, Any], name: str) -> Iterator[tuple[Any, str]]:
        self.places.append(Place(name, of, x, tuple(x), tuple(x.values())))
        for key, value in x.items():
            yield value, f"{name}.{key}" if isinstance(key, str) else f"{name}[...]"

    def _function(self, x: types.FunctionType, name: str) -> Iterator[tuple[Any, str]]:
        for variable, cell in zip(x.__code__.co_freevars, x.__closure__ or (), strict=True):
            self.readings.append(Reading(variable, _content, cell, _content(cell)))
            if _content(cell) is not _MISSING:
                yield _content(cell), variable
        names, attributes, modules = _names(x.__code__)
        yield from self._named(x, x.__globals__, x.__module__, names, attributes)
        for module in modules:
            yield from self._module(x, _imported(module, x.__globals__), attributes)
        yield from ((default, name) for default in x.__defaults__ or ())
        if x.__kwdefaults__:
            yield x.__kwdefaults__, name
        if x.__dict__:
            yield x.__dict__, name

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
        self, x: types.FunctionType, scope: dict[str, Any], module: str, names: Any, attributes: Any
    ) -> Iterator[tuple[Any, str]]:
        """What a function finds in a namespace."""
        found = tuple(n for n in sorted(names) if n in scope)
        values = tuple(scope[n] for n in found)
        if found:
            self.places.append(Place(f"globals of {module}", x, scope, found, values, whole=False))
        for n, value in zip(found, values, strict=True):
            if isinstance(value, types.ModuleType):
                yield from self._module(x, value, attributes)
            elif acts(value):
                self.imported.append((scope, n, value))
            else:
                yield value, n


_STREAMS = (Generator, random.Random, np.random.Generator, np.random.BitGenerator, np.random.RandomState)


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


def own_attributes(x: Tensor) -> tuple[str, ...]:
    """Names of the attributes that the program has given a tensor."""
    attributes = vars(x)
    return tuple(key for key in attributes if key not in _OF_TENSORS) if len(attributes) > 2 else ()


_OF_TENSORS = frozenset(("_data", "_storage", "_node", "_grad", "_base", "_recipe"))


_LIBRARIES = sys.stdlib_module_names | {"builtins", "numpy", "torch", "torchlite"}


def is_library(module: str | None) -> bool:
    """Whether a module is one whose globals nobody changes."""
    return module is not None and module.partition(".")[0] in _LIBRARIES


def _is_ours(module: str | None) -> bool:
    return module is not None and (module == "torchlite" or module.startswith("torchlite."))


def _slots(cls: type) -> tuple[str, ...]:
    slots = cls.__dict__.get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    private = f"_{cls.__name__.lstrip('_')}"
    return tuple(private + n if n.startswith("__") and not n.endswith("__") else n for n in names)


def _is_slot(cls: type, name: str) -> bool:
    """Whether an attribute is kept in a slot, and no property of a derived class is in its place."""
    return isinstance(getattr(cls, name, None), types.MemberDescriptorType)


@functools.lru_cache(4096)
def _names(code: types.CodeType) -> tuple[frozenset[str], frozenset[str], frozenset[tuple[int, str]]]:
    """Names of globals, of attributes and of imported modules (with their levels), in a function and in those that it defines."""
    names, attributes = set[str](), set[str]()
    modules = set[tuple[int, str]]()
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            for mine, inner in zip((names, attributes, modules), _names(constant), strict=True):
                mine |= inner  # type: ignore[operator]
    before: deque[Any] = deque([None, None], 2)  # an import is preceded by its level and what it takes of the module
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME":
            modules.add((before[0] or 0, instruction.argval))
        elif instruction.opcode in dis.hasname:
            is_global = "GLOBAL" in instruction.opname or instruction.opname.endswith("_NAME")
            (names if is_global else attributes).add(instruction.argval)
        before.append(instruction.argval)
    return frozenset(names), frozenset(attributes), frozenset(modules)


def _imported(module: tuple[int, str], scope: dict[str, Any]) -> Any:
    """A module that a function imports; None where it has not been imported yet."""
    level, name = module
    try:
        return sys.modules.get(importlib.util.resolve_name("." * level + name, scope.get("__package__")))
    except ImportError:
        return None


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _MISSING


def _value_of(variable: ContextVar[Any]) -> Any:
    return variable.get(_MISSING)


def _is_logger(x: Any) -> bool:
    logging = sys.modules.get("logging")
    return logging is not None and isinstance(x, logging.Logger)


def _level_of(logger: Any) -> int:
    level: int = logger.getEffectiveLevel()
    return level


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


def _all_same(now: Any, before: Any) -> bool:
    return len(now) == len(before) and all(map(same, now, before))


def _short(value: Any) -> str:
    if value is _MISSING:
        return "missing"
    return repr(value)[:60] if isinstance(value, _PLAIN) else f"another {type(value).__name__}"
