"""Python numbers that are others from call to call: which of them a program reads at every replay.

A number is part of a capture until it is seen to change. From then on it is an input of the programs (a `HostNumber`
while the function is traced), unless the function asks what it is: to index, for a length, in a text. Then each number
has a capture of its own. A text among the arguments (`texts`) is no input, and else the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from torchlite.compiler.again import Again
from torchlite.compiler.holders import key_of
from torchlite.compiler.noted import are_other_numbers
from torchlite.compiler.state import Given, Slot
from torchlite.compiler.surroundings import Surroundings
from torchlite.tracing import Uncapturable

if TYPE_CHECKING:
    from torchlite.compiler.variant import Variant


_ARRAYS = 2
"""So many captures for arrays of NumPy that are an argument may be more than a few that take turns."""


class Decide(Again):
    """Numbers and texts that change and of which the function asks what they are.

    Args:
        slots: of them.
        count: of the leaves of the arguments.
    """

    def __init__(self, slots: Sequence[Slot], count: int) -> None:
        super().__init__(slots, count)
        self.slots, self.count = slots, count


class Changing:
    """The numbers around a function, by container and key, and among its arguments, by how many leaves these have and which it is.

    Attributes:
        used: those that are inputs of what was traced last.
    """

    def __init__(self) -> None:
        self._around: dict[tuple[int, str], tuple[Any, str]] = {}
        self._arguments: set[tuple[int, int]] = set()
        self.used: list[Slot] = []
        self._deciding: set[tuple[int, Any]] = set()
        self._arrays: Counter[tuple[int, int]] = Counter()

    def note(self, variants: Iterable[Variant], structure: Any, leaves: Sequence[Any]) -> None:
        """Take note of those that are others than they were for some capture."""
        for variant in variants:
            for container, key in variant.surroundings.other_numbers():
                self._around[key_of(container, key)] = (container, key)
            if variant.structure == structure:
                pairs = enumerate(zip(variant.leaves, leaves, strict=True))
                self._arguments |= {(len(leaves), i) for i, (a, b) in pairs if _are_others(a, b)}
        self._arrays = Counter(
            (len(leaves), i)
            for variant in variants
            if variant.structure == structure
            for i, (a, b) in enumerate(zip(variant.leaves, leaves, strict=True))
            if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a is not b
        )

    def refuse_arrays(self) -> None:
        """That no argument is an array of NumPy which is another at every call.

        Raises:
            Uncapturable: otherwise; each would have a capture of its own, that is never used again.
        """
        if max(self._arrays.values(), default=0) >= _ARRAYS:
            raise Uncapturable(
                "an argument is an array of NumPy that is another at every call; make it a tensor (torchlite.from_numpy)"
            )

    def around(self, surroundings: Surroundings) -> list[tuple[Any, str]]:
        """Those that a program may read around the function."""
        found = [one for place, one in self._around.items() if place not in self._deciding]
        return [one for one in found if surroundings.holds_place(*one)]

    def among(self, names: dict[int, str], count: int) -> Given:
        """Those that a program may read among so many arguments, of which these are numbers and texts."""
        chosen = {i for of, i in self._arguments - self._deciding if of == count}
        return Given({name: i for i, name in names.items() if i in chosen})

    def reconsider(self) -> None:
        """Ask again of each number whether the function asks what it is: it may have done so in its first steps only."""
        self._deciding.clear()

    def decide(self, slots: Iterable[Slot], count: int) -> None:
        """Let each of these numbers have captures of its own; there are so many leaves of the arguments."""
        for slot in slots:
            given = slot.holder if isinstance(slot.holder, Given) else None
            self._deciding.add(key_of(slot.holder, slot.name) if given is None else (count, given.places[slot.name]))


def _are_others(before: Any, now: Any) -> bool:
    return are_other_numbers(before, now) or (type(before) is type(now) is str and before != now)
