"""Python numbers that change from call to call: learning rates, what schedulers count, the state of `GradScaler`.

While a function is traced, a `HostNumber` stands in the place of each of them, so whatever reads one is seen. In a
replay they are read before the program runs, and what the function has put in their place is written behind it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torchlite._tensor import Tensor
from torchlite.compiler.again import Again
from torchlite.compiler.graph import Value
from torchlite.compiler.holders import MISSING, key_of
from torchlite.compiler.noted import NUMBERS
from torchlite.compiler.numbers import HostNumber, LaterNumber, as_float
from torchlite.ir import Op
from torchlite.tracing import Uncapturable

_OF_FEW_VALUES = (
    "number_mod", "number_floordiv", "round", "trunc", "floor", "ceil", "math_trunc", "math_floor", "math_ceil",
)  # fmt: skip
Container = dict[str, Any]
ChangingNumbers = tuple[Container, Sequence[str] | None]
"""A container, and which of its keys hold numbers that change; None for all that hold numbers."""


@dataclass(eq=False)
class Slot:
    """A Python number at ``holder[name]``, or at ``holder[name][index]``, that is read at every replay.

    Attributes:
        initial: what it was when the function was traced.
        value: of the graph.
        kind: its type.
    """

    holder: Any
    name: str
    index: int | None
    initial: Any
    value: Value = field(default_factory=lambda: Value(None))
    kind: type[Any] = field(init=False)

    def __post_init__(self) -> None:
        self.kind = type(self.initial)

    @property
    def container(self) -> Any:
        """What holds the number itself."""
        return self.holder if self.index is None else self.holder[self.name]

    @property
    def key(self) -> Any:
        """Where in `container` the number is."""
        return self.name if self.index is None else self.index

    def read(self) -> Any:
        """What is in the place."""
        found = self.holder[self.name]
        return found if self.index is None else found[self.index]

    def now(self) -> Any:
        """The number at the moment, also while the function is traced."""
        number = self.read()
        return self.initial if isinstance(number, HostNumber) else number

    def fits(self) -> bool:
        """Whether there is a number of the same type."""
        try:
            return type(self.read()) is self.kind
        except LookupError:
            return False


class Given(threading.local):
    """The numbers among the arguments of the call that a thread is making, by name.

    Args:
        places: for each name its index among the leaves.
    """

    def __init__(self, places: Mapping[str, int]) -> None:
        self.places = places
        self._numbers: dict[str, Any] = {}

    def take(self, leaves: Sequence[Any]) -> None:
        """Look at those of a call."""
        self._numbers = {name: leaves[i] for name, i in self.places.items()}

    def __getitem__(self, name: str) -> Any:
        return self._numbers[name]


@dataclass(eq=False)
class Derived:
    """A number that is computed of others which are known before the program runs, and is one of its inputs.

    Integers are computed so: Python's have no bounds, and C need not know them.
    """

    op: Op
    operands: Sequence[Any]
    kind: type[Any]
    name: str = ""
    value: Value = field(default_factory=lambda: Value(None))

    def read(self) -> Any:
        """The number at the moment."""
        return self.op.run(*(x.now() if isinstance(x, HostNumber) else x for x in self.operands))  # type: ignore[misc]


@dataclass(eq=False)
class Effect:
    """A method that only changes Python numbers; every replay calls it when everything else is done."""

    owner: Any
    method: Any
    args: Any
    kwargs: Any


@dataclass(eq=False)
class Assigned:
    """What a function sets around it, and a replay behind its program.

    Attributes:
        container, key: where.
        before: what was there.
        value: what it sets.
        free: whether it never looks what was there.
    """

    container: Any
    key: str
    before: Any
    value: Any
    free: bool


class Varies(Again):
    """Keys of optimizers' groups that the function changes and that were taken for constants."""

    def __init__(self, keys: set[str]) -> None:
        super().__init__(keys)
        self.keys = keys


class State:
    """The numbers around one traced call; within it as a context, numbers of the graph stand in their places.

    Attributes:
        slots: of all numbers, by the values that stand for them.
        derived: what is computed of them before the program runs, by the values that stand for it.
        made: all slots, those of numbers that are written or returned in the end included.
        effects: the methods that replays call.
        assigned: what is set around the function beside numbers.
    """

    def __init__(
        self,
        tracer: Any,
        holdings: Sequence[ChangingNumbers],
        varying: set[str],
        counted: Sequence[tuple[Any, str]] = (),
        changing: Sequence[tuple[Any, str]] = (),
    ) -> None:
        self.tracer = tracer
        self.slots: dict[Value, Slot] = {}
        self.derived: dict[Value, Derived] = {}
        self.made: list[Slot] = []
        self.effects: list[Effect] = []
        self.assigned: list[Assigned] = []
        self._earlier: list[tuple[Slot, Any]] = []
        self._counted = {key_of(container, key) for container, key in counted}
        self._changing = {key_of(container, key) for container, key in changing} - self._counted
        self._varying = varying
        self._places: dict[tuple[int, str], tuple[Container, str, Any]] = {}
        self._put: dict[tuple[int, str], Any] = {}
        self._keys: dict[int, Sequence[str] | None] = {}
        self._inside = False
        for container, keys in holdings:
            self._keys[id(container)] = keys
            chosen = [*container] if keys is None else [k for k in container if k in keys or k in varying]
            for key in chosen:
                if _holds_numbers(container[key]):
                    self._places[key_of(container, key)] = (container, key, container[key])

        for container, key in (*counted, *changing):
            if _is_number(container.get(key)):
                self._places.setdefault(key_of(container, key), (container, key, container[key]))

    def __enter__(self) -> None:
        for place, (container, key, number) in self._places.items():
            self._put[place] = container[key] = _each(
                number, lambda n, i, c=container, k=key: self._stand_in(c, k, i, n)
            )

    def __exit__(self, *_: object) -> None:
        for container, key, number in self._places.values():
            container[key] = number

    def covers(self) -> list[tuple[Container, str]]:
        """All places, of which nothing else has to be watched."""
        places = [(container, key) for container, key, _ in self._places.values()]
        return places + [(one.container, one.key) for one in self.assigned if one.free]

    def assign(self, one: Assigned) -> None:
        """Let every replay set what the function has set; until then it is as it was."""
        self.assigned.append(one)
        if one.before is MISSING:
            del one.container[one.key]
        else:
            one.container[one.key] = one.before

    def argument(self, given: Given, name: str) -> HostNumber:
        """What stands for a number among the arguments."""
        return self._stand_in(given, name, None, given[name])

    def derive(self, op: Op, operands: Sequence[Any], kind: type[Any], name: str = "") -> HostNumber:
        """A number that is computed of known ones before the program runs."""
        one = Derived(op, operands, kind, name)
        self.derived[one.value] = one
        return HostNumber(self.tracer, one.value, kind, one.read)

    def as_float(self, number: HostNumber) -> HostNumber:
        """A number that is known before the program runs, as the float that Python makes of it."""
        if number.kind is float:
            return number
        source = self.slots.get(number.value)
        return self.derive(as_float, (number,), float, "" if source is None else source.name)

    def changing(self) -> list[Slot]:
        """The numbers that were seen to change, and that the function does not count with."""
        return [
            slot
            for slot in self.slots.values()
            if isinstance(slot.holder, Given) or key_of(slot.holder, slot.name) in self._changing
        ]

    def deciding(self) -> list[Slot]:
        """Those of them of which the function asks what they are."""
        asked = self.asked() if self.slots else ()
        return [slot for slot in self.changing() if slot in asked]

    def asked(self) -> list[Slot]:
        """The numbers of which the function asks what they are, so that each call differs; what has few values may be asked for."""
        sources = {value: {slot} for value, slot in self.slots.items()}
        for op, operands, value in self.tracer.arithmetic:
            if op.name not in _OF_FEW_VALUES:
                sources[value] = {s for x in operands if isinstance(x, HostNumber) for s in sources.get(x.value, ())}
        known = {id(value): slots for value, slots in sources.items()}
        questions = (question[1] for question in self.tracer.conditions if question[0] == "is")
        return [slot for of in questions for slot in known.get(of, ())]

    def asked_for(self) -> str | None:
        """The name of a number that the function counts with, and of which it asks what it is."""
        return next((s.name for s in self.asked() if key_of(s.holder, s.name) in self._counted), None)

    def written(self) -> Iterator[tuple[Slot, Any]]:
        """The places that hold something else in the end or before a method is called, with that.

        Raises:
            Uncapturable: where it is no number.
        """
        yield from self._earlier
        for place in self._places:
            yield from self._put_by_function(place)
        for one in self.assigned:
            yield self._slot(one.container, one.key, None, None), one.value

    def _put_by_function(self, place: tuple[int, str]) -> Iterator[tuple[Slot, Any]]:
        """What the function has put in a place since it last was looked at."""
        container, key, number = self._places[place]
        now, before = container.get(key), self._put[place]
        if now is before:
            return
        if isinstance(number, (tuple, list)) or not (isinstance(now, HostNumber) or type(now) in NUMBERS):
            raise Uncapturable(f"{key} is given another value, which a replay can't repeat")
        if isinstance(before, LaterNumber):
            raise Uncapturable(f"{key} is set after a scheduler has changed it in the same call")
        yield self._slot(container, key, None, number), now

    def call(self, owner: Any, method: Any, args: Any, kwargs: Any) -> Any:
        """Take note of a method instead of calling it; from now on nobody knows the numbers that it changes.

        Raises:
            Uncapturable: where it works with tensors.
            Varies: where it changes what was taken for a constant.
        """
        if self._inside:
            return method(owner, *args, **kwargs)
        if all(type(x) in (int, float, type(None)) for x in (*args, *kwargs.values())):
            self._try(owner, method, args, kwargs)
        self.effects.append(Effect(owner, method, *_without_history((args, kwargs))))
        for container, _ in owner._changing_numbers():
            for place, (holder, key, number) in self._places.items():
                if holder is container:
                    self._earlier += self._put_by_function(place)
                    later = _each(
                        number, lambda n, i, c=holder, k=key: LaterNumber(self.tracer, self._slot(c, k, i, n))
                    )
                    self._put[place] = holder[key] = later
        return None

    def _try(self, owner: Any, method: Any, args: Any, kwargs: Any) -> None:
        """Call the method and take back what it does, to see whether it works with nothing but numbers."""
        containers = [container for container, _ in owner._changing_numbers()]
        before = [dict(container) for container in containers]
        nodes, externals = len(self.tracer.nodes), len(self.tracer.externals)
        mine = {id(container) for container in containers}
        self._inside = True
        try:
            for holder, key, number in self._places.values():
                if id(holder) in mine:
                    holder[key] = number
            noted = [dict(container) for container in containers]
            method(owner, *args, **kwargs)
            changed = {
                key
                for container, values in zip(containers, noted, strict=True)
                for key in container
                if key_of(container, key) not in self._places
                and self._keys.get(id(container)) is not None
                and container[key] is not values.get(key)
                and _holds_numbers(container[key])
            }
        finally:
            self._inside = False
            for container, values in zip(containers, before, strict=True):
                container.clear()
                container.update(values)
        if len(self.tracer.nodes) != nodes or len(self.tracer.externals) != externals:
            raise Uncapturable(f"{type(owner).__name__}.{method.__name__} works with tensors")
        if changed:
            raise Varies(changed)

    def _stand_in(self, container: Any, key: str, index: int | None, number: Any) -> Any:
        slot = self._slot(container, key, index, number)
        self.slots[slot.value] = slot
        return HostNumber(self.tracer, slot.value, slot.kind, slot.now)

    def _slot(self, container: Any, key: str, index: int | None, number: Any) -> Slot:
        self.made.append(Slot(container, key, index, number))
        return self.made[-1]


def _is_number(x: Any) -> bool:
    return type(x) in NUMBERS


def _holds_numbers(x: Any) -> bool:
    return _is_number(x) or (type(x) in (tuple, list) and bool(x) and all(map(_is_number, x)))


def _without_history(x: Any) -> Any:
    if isinstance(x, Tensor):
        return x.detach()
    if isinstance(x, tuple):
        return tuple(map(_without_history, x))
    return {key: _without_history(value) for key, value in x.items()} if isinstance(x, dict) else x


def _each(x: Any, function: Any) -> Any:
    """``function(number, index)`` of a number, or of each in a tuple or list."""
    return function(x, None) if _is_number(x) else type(x)(function(n, i) for i, n in enumerate(x))
