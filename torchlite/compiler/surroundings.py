"""What has become of the Python values around a function (`visited`) since they were noted.

A replay is right only as long as they are the same; and where tracing itself has changed one, a replay would leave that
change out.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Collection, Iterator
from operator import attrgetter
from typing import Any

from torchlite.compiler.code_names import is_library
from torchlite.compiler.holders import MISSING, Cell
from torchlite.compiler.identities import Chosen, Found
from torchlite.compiler.noted import (
    OF_FUNCTIONS,
    Hidden,
    Make,
    Place,
    Reading,
    are_other_numbers,
    same,
)
from torchlite.compiler.reads import Reads
from torchlite.compiler.visited import Visited, content_of

Taken = tuple[int, list[Any]]
"""Which of the containers among the arguments, and the keys that are taken out."""

_content_of_cell = attrgetter("cell_contents")


class Surroundings(Visited):
    """The Python values around a function, as they were when it was made.

    Args:
        function, arguments, leaves, reads, growing: as those of `Visited`.

    Attributes:
        left_out: the places that may change.
    """

    def __init__(
        self, function: Any, arguments: Any, leaves: Any, reads: Reads | None = None, growing: Collection[int] = ()
    ) -> None:
        super().__init__(function, arguments, leaves, reads, growing)
        self.left_out: list[tuple[Any, Any]] = []

    def change(self) -> str | None:
        """The first difference to what was noted, None without one."""
        for make in self.makes:
            difference = make.difference()
            if difference is not None:
                return difference
        for place in self.places:
            if not place.holds():
                return place.difference()
        for reading in self.readings:
            if not same(reading.now(), reading.value):
                return reading.difference()
        return self.change_of_arrays()

    def change_of_arrays(self) -> str | None:
        """The first array of NumPy that has other elements."""
        for name, now, copy in self.arrays:
            if now.shape != copy.shape or now.dtype != copy.dtype or now.tobytes() != copy.tobytes():
                return f"the array {name} has other elements"
        return None

    def watched(self) -> tuple[list[Any], list[Found], list[dict[Any, Any]], list[Chosen]]:
        """What `Identities` watches in their place."""
        read: dict[Callable[[Any], Any], list[Any]] = {}
        for reading in self.readings:
            filled_cell = reading.read is content_of and reading.value is not MISSING
            read.setdefault(_content_of_cell if filled_cell else reading.read, []).append(reading.of)
        whole: list[Any] = []
        keyed: list[dict[Any, Any]] = []
        chosen: list[Chosen] = []
        for place in self.places:
            of_itself = isinstance(place.container, dict) and place.container is place.of
            if place.direct:
                (keyed if of_itself else whole).append(place.container)
                continue
            chosen.append((place.container, place.keys or ()))
            if of_itself or (place.whole and isinstance(place.of, type)):
                whole.append(place.container.keys())
        return whole, [*read.items()], keyed, chosen

    def made(self) -> tuple[list[tuple[Any, type, dict[str, Any] | None]], list[Any]]:
        """Objects with their classes and dicts, and functions, for `Identities`."""
        objects = [(make.of, *make.values, None)[:3] for make in self.makes if make.parts is not OF_FUNCTIONS]
        return objects, [make.of for make in self.makes if make.parts is OF_FUNCTIONS]

    def effect(self) -> str | None:
        """What has changed of them, or of random streams and arguments, since they were noted."""
        for hidden in self.hidden:
            if hidden.changed():
                return f"the state of {hidden.name}"
        for place in self.given:
            if not place.holds():
                return place.difference()
        return self.change()

    def taken(self) -> list[Taken]:
        """What was taken out of dicts among the arguments, and out of which; they have it again then."""
        taken = []
        ids = [id(place.of) for place in self.given]
        for i, place in enumerate(self.given):
            x = place.of
            if type(x) is dict and not self.hold(x) and ids.count(id(x)) == 1 and not place.holds():
                known = dict(zip(place.keys or (), place.values, strict=True))
                if all(key in known and same(value, known[key]) for key, value in x.items()):
                    taken.append((i, [key for key in known if key not in x]))
                    x.clear()
                    x.update(known)
        return taken

    def restore(self) -> None:
        """Undo what tracing has changed."""
        noted: list[Hidden | Place | Reading | Make] = [
            *self.makes,
            *self.hidden,
            *self.given,
            *self.places,
            *self.readings,
        ]
        for one in noted:
            one.restore()

    def hold(self, x: Any) -> bool:
        """Whether an object is among them."""
        return id(x) in self._seen

    def ids(self) -> set[int]:
        """Those of all objects and of the containers among the arguments."""
        return self._seen | {id(place.of) for place in self.given}

    def leave_out(self, container: Any, key: Any) -> None:
        """Let ``container[key]`` change."""
        self.left_out.append((container, key))
        if isinstance(container, Cell):
            self.readings = [reading for reading in self.readings if reading.of is not container.of]
            return
        value = container.get(key)
        self.places = [place for place in self.places if place.container is not value]
        for place in self.places:
            if place.is_in(container):
                place.leave_out(key)

    def holds_place(self, container: Any, key: Any) -> bool:
        """Whether ``container[key]`` is watched."""
        if isinstance(container, Cell):
            return any(reading.of is container.of for reading in self.readings)
        return any(key == k for place in self.places if place.is_in(container) for k, *_ in place.pairs())

    def class_has_changed(self) -> bool:
        """Whether an attribute of a class is another."""
        return any(isinstance(place.of, type) and not place.holds() for place in self.places)

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

    def other_numbers(self) -> Iterator[tuple[Any, str]]:
        """Containers and keys of the program's numbers that are others of the same type now."""
        groups = {id(container) for container, _ in self.numbers}
        for place in self.places:
            container = place.changeable()
            if container is None or id(container) in groups:
                continue
            if place.of is not place.container and _is_of_library(place.of):
                continue
            for key, before, now in place.pairs():
                if isinstance(key, str) and are_other_numbers(before, now):
                    yield container, key
        for reading in self.readings:
            if reading.is_of_cell() and are_other_numbers(reading.value, reading.now()):
                yield Cell(reading.of), reading.name


def _is_of_library(x: Any) -> bool:
    """Whether what has a namespace is none of the program's objects or functions."""
    if isinstance(x, types.ModuleType):
        return True
    kind = x if isinstance(x, type) else type(x)
    return (
        not isinstance(x, types.FunctionType) and is_library(kind.__module__) and kind.__qualname__ not in _NAMESPACES
    )


_NAMESPACES = ("Namespace", "SimpleNamespace")
"""Classes of Python's for attributes of the program, of `argparse` and `types`."""
