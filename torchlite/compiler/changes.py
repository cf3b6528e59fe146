"""Which Python values a traced function has changed, as far as every replay can change them in the same way.

A replay can write a number that was computed of numbers which it reads at its beginning (`steps += 1`), what the
function sets and never looks at before, results and constants, tensors in the place of others (`rebinding`), and append to
lists (`growing`). All else is left to the function itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torchlite._tensor import Tensor
from torchlite.compiler.again import Again
from torchlite.compiler.growing import STAND_INS, Growing, Grown, can_be_made_again
from torchlite.compiler.holders import MISSING, Cell, Holder, key_of
from torchlite.compiler.noted import NUMBERS, PLAIN, Place, Reading, same, short
from torchlite.compiler.numbers import HostNumber
from torchlite.compiler.reads import Reads, without_notes
from torchlite.compiler.rebinding import Rebinding, Rebound, tensors
from torchlite.compiler.state import Assigned
from torchlite.compiler.surroundings import Surroundings
from torchlite.compiler.tracer import Tracer


class Written(Again):
    """Numbers that the function reads and writes, and that were taken for constants: containers and keys."""

    def __init__(self, numbers: list[tuple[Any, str]]) -> None:
        super().__init__(numbers)
        self.numbers = numbers


@dataclass(frozen=True)
class Traced:
    """What has taken part in the trace of a call.

    Attributes:
        surroundings: as they were before.
        reads: of attributes.
        tracer: of the function.
        growing: lists of which it is known that they become longer.
        rebinding: tensors of which it is known that they are replaced.
    """

    surroundings: Surroundings
    reads: Reads
    tracer: Tracer
    growing: Growing
    rebinding: Rebinding


def repeat_changes(traced: Traced, result: Any, *, once: bool) -> str | None:
    """Let every replay do what the function has done to the Python values around it.

    Args:
        traced: the call.
        result: of the function.
        once: whether constants that it sets may be what it makes for later calls.

    Returns:
        What no replay can do, None without that.

    Raises:
        Written, Grown, Rebound: for numbers, lists and tensors, with which the function has to be traced again.
        Looked: for lists that the function looks at.
    """
    traced.growing.check()
    changed = _Changed(traced)
    unrepeated = changed.compare()
    if unrepeated is not None:
        return unrepeated
    changed.check()
    assigned = changed.assigned
    if once and not all(one.free for one in assigned):
        return f"{assigned[0].key} becomes {short(assigned[0].value)}"
    effects = list(traced.growing.effects())
    elsewhere = {id(x) for x in _containers((result, [one.value for one in assigned]))} | traced.surroundings.ids()
    if not all(can_be_made_again(e.args, elsewhere) for e in effects):
        return "what is appended to a list is also elsewhere"
    state = traced.tracer.state
    for one in assigned:
        state.assign(one)
    state.effects += effects
    return None


class _Changed:
    """What is another around a function than before, by what a replay can do about it.

    Attributes:
        numbers, grown, rebound: places of numbers, of lists and of tensors that are not known to change yet.
        assigned: what a replay assigns.
    """

    def __init__(self, traced: Traced) -> None:
        self._traced = traced
        self._covered = {key_of(container, key) for container, key in traced.tracer.state.covers()}
        self.numbers: list[tuple[Any, Any]] = []
        self.assigned: list[Assigned] = []
        self.grown: list[Holder] = []
        self.rebound: list[Holder] = []

    def compare(self) -> str | None:
        """Take note of all that a replay can do, and say what it can't."""
        surroundings = self._traced.surroundings
        found = itertools.chain(map(self._place, surroundings.places), map(self._reading, surroundings.readings))
        return next((difference for difference in found if difference is not None), None)

    def _place(self, place: Place) -> str | None:
        """What has changed in a container that no replay can change."""
        surroundings, reads, growing = self._traced.surroundings, self._traced.reads, self._traced.growing
        container = place.changeable()
        if container is None:
            if place.holds():
                return None
            holder = _holder(surroundings, place)
            if holder is None or not growing.is_new(holder):
                return place.difference()
            self.grown.append(holder)
            return None
        told = place.of is not place.container and type(place.of) in surroundings.telling
        for key, before, now in _differences(place):
            if growing.stands_in(now) or self._is_covered(container, key):
                continue
            free = told and reads.only_set(place.of, key)
            if self._takes(container, key, before, now, free=free):
                continue
            if isinstance(key, str) and (_is_result(now) if free else _is_constant(before) and _is_new(now)):
                self.assigned.append(Assigned(container, key, before, now, free=free))
            else:
                return f"{place.name}[{short(key)}] was {short(before)} and is {short(now)}"
        return None

    def _reading(self, reading: Reading) -> str | None:
        """The same of what a function gives of an object."""
        before, now = reading.value, reading.now()
        if same(now, before) or self._traced.growing.stands_in(now):
            return None
        if not reading.is_of_cell():
            return reading.difference()
        cell = Cell(reading.of)
        if self._is_covered(cell, reading.name) or self._takes(cell, reading.name, before, now):
            return None
        return reading.difference()

    def _is_covered(self, container: Any, key: Any) -> bool:
        """Whether a place is dealt with; it is, from now on, as another function may name it, too."""
        known = key_of(container, key)
        if known in self._covered:
            return True
        self._covered.add(known)
        return False

    def _takes(self, container: Any, key: Any, before: Any, now: Any, *, free: bool = False) -> bool:
        """Whether it is a number or a tensor that may change there, which is noted.

        Args:
            container, key: the place.
            before, now: what was and is there.
            free: whether nobody reads it there, so that a number needs no place in the graph.
        """
        rebinding = self._traced.rebinding
        if _is_number(before) and _is_number(now) and not free:
            self.numbers.append((container, key))
        elif _are_results(now) and rebinding.takes(container, key, before):
            self.assigned.append(Assigned(container, key, before, now, free=True))
        elif _are_results(now) and rebinding.is_new(container, key, before):
            self.rebound.append((container, key))
        else:
            return False
        return True

    def check(self) -> None:
        """Raise `Written`, `Grown` or `Rebound` where something changes of which that was not known."""
        if self.numbers:
            raise Written(self.numbers)
        if self.grown:
            raise Grown(self.grown)
        if self.rebound:
            raise Rebound(self.rebound)


def _holder(surroundings: Surroundings, place: Place) -> Holder | None:
    """What holds a list that has become longer, where it is held once."""
    x = place.container
    if type(x) not in STAND_INS or surroundings.met[id(x)] != 1:
        return None
    for other in surroundings.places:
        container = other.changeable()
        if container is not None:
            key = next((k for k, v, _ in other.pairs() if v is x), None)
            if isinstance(key, str):
                return container, key
    reading = next((r for r in surroundings.readings if r.is_of_cell() and r.value is x), None)
    return None if reading is None else (Cell(reading.of), reading.name)


def _containers(x: Any) -> list[Any]:
    """All lists and dicts in a structure."""
    if not isinstance(x, (list, tuple, dict)):
        return []
    inner = [found for part in (x.values() if isinstance(x, dict) else x) for found in _containers(part)]
    return inner if isinstance(x, tuple) else [x, *inner]


def _differences(place: Place) -> Iterator[tuple[Any, Any, Any]]:
    yield from ((key, before, now) for key, before, now in place.pairs() if not same(now, before))
    if place.whole and place.keys is not None:
        known = set(place.keys)
        there = without_notes(place.container) if isinstance(place.of, type) else place.container
        yield from ((key, MISSING, now) for key, now in list(there.items()) if key not in known)


def _is_number(x: Any) -> bool:
    return type(x) in (*NUMBERS, HostNumber)


def _is_constant(x: Any) -> bool:
    return type(x) in PLAIN


def _is_new(x: Any) -> bool:
    return _is_constant(x) or _are_results(x)


def _are_results(x: Any) -> bool:
    held = tensors(x)
    return held is not None and all(map(_is_result, held))


def _is_result(x: Any) -> bool:
    return type(x) in (Tensor, HostNumber) or _is_constant(x)
