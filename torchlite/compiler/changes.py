"""Which Python values a traced function has changed, as far as every replay can change them in the same way.

A replay can write a number that was computed of numbers which it reads at its beginning (`steps += 1`), what the
function sets and never looks at before, results and constants, tensors in the place of others (`rebinding`), and append to
lists (`growing`). All else is left to the function itself.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torchlite._tensor import Tensor
from torchlite.compiler.again import Again
from torchlite.compiler.growing import STAND_INS, Growing, Grown, Holder, can_be_made_again
from torchlite.compiler.noted import MISSING, NUMBERS, PLAIN, Cell, Place, same, short
from torchlite.compiler.numbers import HostNumber
from torchlite.compiler.reads import Reads
from torchlite.compiler.rebinding import Rebinding, Rebound, tensors
from torchlite.compiler.state import Assigned
from torchlite.compiler.surroundings import Surroundings
from torchlite.compiler.tracer import Tracer

if TYPE_CHECKING:
    from torchlite.compiler.learned import Learned


class Written(Again):
    """Numbers that the function reads and writes, and that were taken for constants: containers and keys."""

    def __init__(self, numbers: list[tuple[Any, str]]) -> None:
        super().__init__(numbers)
        self.numbers = numbers

    def tell(self, learned: Learned) -> None:
        """The function counts with them."""
        learned.counted += self.numbers


def repeat_changes(
    surroundings: Surroundings,
    reads: Reads,
    tracer: Tracer,
    growing: Growing,
    rebinding: Rebinding,
    result: Any,
    *,
    once: bool,
) -> str | None:
    """Let every replay do what the function has done to the Python values around it.

    Args:
        surroundings: as they were before.
        reads: of attributes.
        tracer: of the function.
        growing: lists of which it is known that they become longer.
        rebinding: tensors of which it is known that they are replaced.
        result: of the function.
        once: whether constants that it sets may be what it makes for later calls.

    Returns:
        What no replay can do, None without that.

    Raises:
        Written, Grown, Rebound: for numbers, lists and tensors, with which the function has to be traced again.
        Looked: for lists that the function looks at.
    """
    covered = tracer.state.covers()
    places = {(id(container), key) for container, key in covered}
    cells = {id(container.cell) for container, _ in covered if isinstance(container, Cell)}
    numbers: list[tuple[Any, str]] = []
    assigned: list[Assigned] = []
    grown: list[Holder] = []
    rebound: list[Holder] = []
    growing.check()
    for place in surroundings.places:
        if place.keys is None or not isinstance(place.container, dict) or isinstance(place.of, types.ModuleType):
            if not place.holds():
                holder = _holder(surroundings, place)
                if holder is None or not growing.is_new(holder):
                    return place.difference()
                grown.append(holder)
            continue
        told = place.of is not place.container and type(place.of) in surroundings.telling
        for key, before, now in _differences(place):
            if (id(place.container), key) in places or growing.stands_in(now):
                continue
            free = told and reads.only_set(place.of, key)
            if _is_number(before) and _is_number(now) and not free:
                numbers.append((place.container, key))
            elif _are_results(now) and rebinding.takes(place.container, key, before):
                assigned.append(Assigned(place.container, key, before, now, free=True))
            elif _are_results(now) and rebinding.is_new(place.container, key, before):
                rebound.append((place.container, key))
            elif isinstance(key, str) and (_is_result(now) if free else _is_constant(before) and _is_new(now)):
                assigned.append(Assigned(place.container, key, before, now, free=free))
            else:
                return f"{place.name}[{short(key)}] was {short(before)} and is {short(now)}"
    for reading in surroundings.readings:
        before, now = reading.value, reading.now()
        if not same(now, before) and id(reading.of) not in cells and not growing.stands_in(now):
            cell = Cell(reading.of) if reading.is_of_cell() else None
            if cell is None:
                return reading.difference()
            if _is_number(before) and _is_number(now):
                numbers.append((cell, reading.name))
            elif _are_results(now) and (known := rebinding.cell(reading.of)) is not None:
                assigned.append(Assigned(known, reading.name, before, now, free=True))
            elif _are_results(now) and rebinding.is_new(cell, reading.name, before):
                rebound.append((cell, reading.name))
            else:
                return reading.difference()
    if numbers:
        raise Written(numbers)
    if grown:
        raise Grown(grown)
    if rebound:
        raise Rebound(rebound)
    if once and not all(one.free for one in assigned):
        return f"{assigned[0].key} becomes {short(assigned[0].value)}"
    effects = list(growing.effects())
    elsewhere = {id(x) for x in _containers((result, [one.value for one in assigned]))} | surroundings.ids()
    if not all(can_be_made_again(e.args, elsewhere) for e in effects):
        return "what is appended to a list is also elsewhere"
    for one in assigned:
        tracer.state.assign(one)
    tracer.state.effects += effects
    return None


def _holder(surroundings: Surroundings, place: Place) -> Holder | None:
    """What holds a list that has become longer, where it is held once."""
    x = place.container
    if type(x) not in STAND_INS or surroundings.met[id(x)] != 1 or surroundings.asks_for_types:
        return None
    for other in surroundings.places:
        if isinstance(other.container, dict) and not isinstance(other.of, types.ModuleType):
            key = next((k for k, v in zip(other.keys or (), other.values, strict=True) if v is x), None)
            if isinstance(key, str):
                return other.container, key
    reading = next((r for r in surroundings.readings if r.is_of_cell() and r.value is x), None)
    return None if reading is None else (Cell(reading.of), reading.name)


def _containers(x: Any) -> list[Any]:
    """All lists and dicts in a structure."""
    if not isinstance(x, (list, tuple, dict)):
        return []
    inner = [found for part in (x.values() if isinstance(x, dict) else x) for found in _containers(part)]
    return inner if isinstance(x, tuple) else [x, *inner]


def _differences(place: Place) -> Iterator[tuple[Any, Any, Any]]:
    keys = place.keys or ()
    for key, before, now in zip(keys, place.values, place.now(), strict=True):
        if not same(now, before):
            yield key, before, now
    if place.whole:
        known = set(keys)
        yield from ((key, MISSING, now) for key, now in list(place.container.items()) if key not in known)


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
