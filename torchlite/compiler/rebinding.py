"""Tensors that a function reads and replaces by others (`self.average = 0.9 * self.average + 0.1 * x`).

Every replay looks for the tensor in the place where the last one has put it, as it looks for gradients.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from torchlite._tensor import Tensor
from torchlite.compiler.again import Again
from torchlite.compiler.holders import Holder, key_of

Spot = tuple[Any, str, int | None]
"""A dict or a cell, a key, and an index where a tuple or list of tensors is there."""


Kind = tuple[type, int] | None


class Rebound(Again):
    """Tensors that were replaced, and that were taken to stay: what holds them."""

    def __init__(self, holders: Sequence[Holder]) -> None:
        super().__init__(holders)
        self.holders = holders


class Rebinding:
    """The tensors around one traced call that are replaced.

    Args:
        known: what holds such tensors.
        surroundings: of the call.
        given: ids of the tensors among the arguments.
        fixed: whether those that are known shall be taken to stay.

    Attributes:
        holders: of those that are around this call.
        spots: where each is, by its id.
    """

    def __init__(
        self, known: Mapping[tuple[int, str], Holder], surroundings: Any, given: Collection[int], *, fixed: bool
    ) -> None:
        self._known = known
        self._surroundings, self._given = surroundings, given
        there = [] if fixed else [(c, k) for c, k in known.values() if surroundings.holds_place(c, k)]
        self.holders = [(container, key) for container, key in there if self._alone(container.get(key))]
        self.spots: dict[int, Spot] = {}
        for container, key in self.holders:
            value = container.get(key)
            several = type(value) is not Tensor
            for i, tensor in enumerate(value if several else (value,)):
                self.spots[id(tensor)] = (container, key, i if several else None)

    def kinds(self) -> list[tuple[Any, str, Kind]]:
        """What holds them, and which kind of thing is there."""
        return [(container, key, kind_of(container.get(key))) for container, key in self.holders]

    def takes(self, container: Any, key: Any, before: Any) -> bool:
        """Whether a replay can replace what is there."""
        return any(key_of(*holder) == key_of(container, key) for holder in self.holders) and tensors(before) is not None

    def is_new(self, container: Any, key: Any, before: Any) -> bool:
        """Whether tensors are replaced there of which that was not known, and that are nowhere else."""
        return isinstance(key, str) and key_of(container, key) not in self._known and self._alone(before)

    def _alone(self, value: Any) -> bool:
        held = tensors(value)
        if not held or any(id(x) in self._given for x in held):
            return False
        return all(self._surroundings.met[id(x)] == 1 for x in (value, *held))


def tensors(value: Any) -> Sequence[Tensor] | None:
    """What a place holds as tensors: one, or a tuple or list of some; None for anything else."""
    if type(value) is Tensor:
        return (value,)
    return value if type(value) in (tuple, list) and value and all(type(x) is Tensor for x in value) else None


def kind_of(value: Any) -> Kind:
    """Whether it is a tensor, or a tuple or list of how many; None where it is anything else."""
    if type(value) is Tensor:
        return Tensor, 1
    return None if tensors(value) is None else (type(value), len(value))


def found(spot: Spot) -> Any:
    """The tensor that is in a place now."""
    container, key, index = spot
    value = container.get(key)
    return value if index is None else value[index]
