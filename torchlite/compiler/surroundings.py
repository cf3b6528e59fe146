"""What a function finds around it: closures, globals, attributes of modules, groups of optimizers.

All Python values that the function could have read while it was traced are noted. A replay is right only as long as
they are the same; and where tracing itself has changed one, a replay would leave that change out.
"""

from __future__ import annotations

import dis
import functools
import random
import sys
import types
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter, is_
from typing import Any

import numpy as np

from torchlite._tensor import Tensor
from torchlite.compiler.identities import Found
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
        container: a mapping, list, set or deque.
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
        if self.direct and all(map(is_, container if self.keys is None else container.values(), self.values)):
            return True
        now = self.now()
        if not _all_same(now, self.values):
            return False
        self.values = now
        return True

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
            if isinstance(container, (list, deque)) and not _all_same(container, self.values):
                container.clear()
                container.extend(self.values)
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


_content_of_cell = attrgetter("cell_contents")


class Surroundings:
    """The Python values around a function, noted when it is made.

    Attributes:
        places, cells, arrays: what is watched.
        names: of tensors, by id.
        numbers: containers of numbers that change from call to call, and under which keys.
        kept: all objects in the order in which they were found.
        left_out: the places that may change.

    Raises:
        Uncapturable: for an iterator among them, whose place can't be noted.
    """

    def __init__(self, function: Any, arguments: Any) -> None:
        self.places: list[Place] = []
        self.cells: list[tuple[str, types.CellType, Any]] = []
        self.arrays: list[tuple[str, Any, Any]] = []
        self.names: dict[int, str] = {}
        self.numbers: list[tuple[dict[str, Any], Any]] = []
        self.generators = [(default_generator, default_generator.state())]
        self._seen: set[int] = set()
        self.kept: list[Any] = []
        self.left_out: list[tuple[Any, Any]] = []
        self._visit(function, getattr(function, "__name__", "function"))
        for argument in arguments:
            self._visit(argument, "an argument")
        self._randomness = (random.getstate(), _state_of_numpy())
        self._numpy = np.random.get_state()

    def change(self) -> str | None:
        """The first difference to what was noted, None without one."""
        for place in self.places:
            if not place.holds():
                return place.difference()
        for name, cell, value in self.cells:
            if not same(_content(cell), value):
                return f"{name} was {_short(value)} and is {_short(_content(cell))}"
        return self.change_of_arrays()

    def change_of_arrays(self) -> str | None:
        """The first array of NumPy that has other elements."""
        for name, array, copy in self.arrays:
            if array.shape != copy.shape or array.dtype != copy.dtype or array.tobytes() != copy.tobytes():
                return f"the array {name} has other elements"
        return None

    def watched(self) -> tuple[list[Any], list[Found]]:
        """What `Identities` watches in their place."""
        filled = [cell for _, cell, value in self.cells if value is not _MISSING]
        empty = [cell for _, cell, value in self.cells if value is _MISSING]
        chosen = [(place.container.get, place.keys or ()) for place in self.places if not place.direct]
        whole = [place.container for place in self.places if place.direct]
        return whole, [*chosen, (_content_of_cell, filled), (_content, empty)]

    def effect(self) -> str | None:
        """What has changed of them, or of the random streams of Python and NumPy, since they were noted."""
        if random.getstate() != self._randomness[0]:
            return "the state of the module random"
        if _state_of_numpy() != self._randomness[1]:
            return "the state of numpy.random"
        if any(generator.state() != state for generator, state in self.generators):
            return "the seed of a generator"
        return self.change()

    def restore(self) -> None:
        """Undo what tracing has changed."""
        random.setstate(self._randomness[0])
        np.random.set_state(self._numpy)
        for generator, state in self.generators:
            generator.restore(state)
        for place in self.places:
            place.restore()
        for _, cell, value in self.cells:
            if value is not _MISSING and _content(cell) is not value:
                cell.cell_contents = value

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
            if isinstance(x, Tensor):
                self.names[id(x)] = name
                self.kept.append(x)
                continue
            self.kept.append(x)
            if len(self._seen) > _LIMIT:
                raise Uncapturable(f"there is too much around the function to watch: more than {_LIMIT} objects")
            queue.extend(self._inside(x, name))

    def _inside(self, x: Any, name: str) -> Iterator[tuple[Any, str]]:
        if isinstance(x, types.FunctionType):
            if not _is_library(x.__module__):
                yield from self._function(x, name)
        elif isinstance(x, np.ndarray):
            if x.size > _SMALL or x.dtype.hasobject:
                raise Uncapturable(f"{name} is an array of NumPy, too large to be watched; make it a tensor")
            self.arrays.append((name, x, x.copy()))
        elif isinstance(x, Generator):
            self.generators.append((x, x.state()))
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
            if not _is_library(x.__module__):
                yield from self._mapping(x, vars(x), x.__name__)
                yield from ((base, base.__name__) for base in x.__mro__[1:])
        elif isinstance(x, (types.ModuleType, types.BuiltinFunctionType, np.ufunc)):
            return
        elif hasattr(type(x), "__next__"):
            raise Uncapturable(f"{name} is an iterator, which goes on at every call")
        else:
            yield type(x), type(x).__name__
            if hasattr(type(x), "_changing_numbers"):
                self.numbers += x._changing_numbers()
            if hasattr(x, "__dict__"):
                yield from self._mapping(x, x.__dict__, name)
            slots = [slot for cls in type(x).__mro__ for slot in _slots(cls) if slot not in ("__weakref__", "__dict__")]
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
            content = _content(cell)
            self.cells.append((variable, cell, content))
            if content is not _MISSING:
                yield content, variable
        names, attributes = map(sorted, _names(x.__code__))
        scope = x.__globals__
        found = tuple(n for n in names if n in scope)
        if found:
            self.places.append(
                Place(f"globals of {x.__module__}", x, scope, found, tuple(scope[n] for n in found), whole=False)
            )
        for n in found:
            value = scope[n]
            if isinstance(value, types.ModuleType):
                if not _is_library(value.__name__):
                    used = tuple(a for a in attributes if a in vars(value))
                    space = vars(value)
                    self.places.append(
                        Place(
                            f"globals of {value.__name__}", x, space, used, tuple(space[a] for a in used), whole=False
                        )
                    )
                    yield from ((space[a], f"{n}.{a}") for a in used)
            else:
                yield value, n
        yield from ((default, name) for default in x.__defaults__ or ())
        if x.__kwdefaults__:
            yield x.__kwdefaults__, name
        if x.__dict__:
            yield x.__dict__, name


_LIBRARIES = sys.stdlib_module_names | {"builtins", "numpy", "torch", "torchlite"}


def _is_library(module: str | None) -> bool:
    """Whether a module is one whose globals nobody changes."""
    return module is not None and module.partition(".")[0] in _LIBRARIES


def _is_ours(module: str | None) -> bool:
    return module is not None and (module == "torchlite" or module.startswith("torchlite."))


def _slots(cls: type) -> tuple[str, ...]:
    slots = cls.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


@functools.lru_cache(4096)
def _names(code: types.CodeType) -> tuple[frozenset[str], frozenset[str]]:
    """Names of globals, and those of attributes, in a function and in those that it defines."""
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType)]
    names, attributes = ({name for found in inner for name in found[kind]} for kind in (0, 1))
    for instruction in dis.get_instructions(code):
        if instruction.opcode in dis.hasname:
            is_global = "GLOBAL" in instruction.opname or instruction.opname.endswith("_NAME")
            (names if is_global else attributes).add(instruction.argval)
    return frozenset(names), frozenset(attributes)


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _MISSING


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
    return kind in (int, str, bytes, bool, range, slice) and bool(now == before)


def _all_same(now: Any, before: Any) -> bool:
    return len(now) == len(before) and all(map(same, now, before))


def _short(value: Any) -> str:
    if value is _MISSING:
        return "missing"
    return repr(value)[:60] if isinstance(value, _PLAIN) else f"another {type(value).__name__}"


def _state_of_numpy() -> Any:
    kind, words, *rest = np.random.get_state(legacy=True)
    return (kind, words.tobytes(), *rest) if isinstance(words, np.ndarray) else (kind, words)
