"""One capture, and the calls that it is right for.

What a capture relies on is looked at before every replay. Nearly always nothing has changed, so that is seen first, by
comparing objects by identity in a loop that runs in C; only where one is another are the values compared. And nearly always
the gradients of the last call are where it has left them, so that nothing has to be prepared for the next (`repetition`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from torchlite._tensor import Tensor
from torchlite.autograd.graph import Leaf
from torchlite.backends import device_of, is_array
from torchlite.compiler.arguments import containers
from torchlite.compiler.captured import PLAIN_RESULTS, Captured
from torchlite.compiler.holders import Holder
from torchlite.compiler.identities import Identities
from torchlite.compiler.moves import Moves
from torchlite.compiler.noted import same
from torchlite.compiler.ownership import owner, share_what_is_written
from torchlite.compiler.reads import Reads
from torchlite.compiler.rebinding import Kind, Spot, found, kind_of
from torchlite.compiler.repetition import Repetition
from torchlite.compiler.repetition import repetition as repeated
from torchlite.compiler.settings import modes_now
from torchlite.compiler.state import Given, Slot
from torchlite.compiler.surroundings import Surroundings, Taken
from torchlite.compiler.visited import own_attributes

TENSOR = object()
"""What stands for a tensor among the arguments."""


@dataclass(frozen=True)
class Number:
    """What stands for a number or a text among the arguments that may differ."""

    kind: type[Any]

    def __repr__(self) -> str:
        return f"any {self.kind.__name__}"


_MOST_MISSES = 8
_hooks, _after, _grad = map(attrgetter, ("hooks", "after", "_grad"))
_OF_TENSORS = "_data", "_node", "_storage"


@dataclass(eq=False)
class Variant:
    """One capture and the calls that it is right for.

    Attributes:
        captured: the program.
        structure, leaves: of the arguments, with `TENSOR` for tensors that may differ, and `Number` for numbers.
        modes: at the call.
        surroundings: the Python values around the function that it may have read.
        taken: what the function takes out of dicts among its arguments.
        growing: what holds the lists that become longer.
        rebound: for each external where it is found at each call, None where it stays the same tensor.
        rebinding: what holds such tensors, and which kind of thing is there.
        given_numbers: the numbers among the arguments that may differ.
        slots: the places of Python numbers that may change.
        written: the places of Python numbers that the function writes or returns.
        conditions: questions about those numbers: what is asked, how, and the answer.
        places: for each external its index among the leaves, None where it is no argument.
        firsts: for each leaf that is a tensor the index of the first that is the same one.
        signatures: of the externals.
        entry: tensors whose gradient was looked at, their index among the leaves, and whether there was none.
    """

    captured: Captured
    structure: Any
    leaves: list[Any]
    modes: tuple[Any, ...]
    surroundings: Surroundings
    taken: list[Taken]
    growing: list[Holder]
    rebound: list[Spot | None]
    rebinding: list[tuple[Any, str, Kind]]
    given_numbers: Given
    slots: list[Slot]
    written: list[Slot]
    conditions: list[tuple[str, Callable[[], Any], Any]]
    places: list[int | None]
    firsts: list[int]
    signatures: list[tuple[Any, ...]]
    entry: list[tuple[Tensor, int | None, bool]]
    _around: Identities | None = field(init=False)

    def __post_init__(self) -> None:
        externals = self.captured.externals
        self._varying = [i for i, known in enumerate(self.leaves) if known is TENSOR]
        self._given = [(i, place) for i, place in enumerate(self.places) if place is not None]
        holders = {id(tensor): place for tensor, place, _ in self.entry}
        self._gradients = [
            (i, e.owner, holders.get(id(e.owner)))
            for i, (e, place) in enumerate(zip(externals, self.places, strict=True))
            if place is None and e.owner is not None
        ]
        self._rebound = [(i, spot) for i, spot in enumerate(self.rebound) if spot is not None]
        self._empty = [tensor for tensor, place, empty in self.entry if place is None and empty]
        self._full = [tensor for tensor, place, empty in self.entry if place is None and not empty]
        self._of_arguments = [(place, empty) for _, place, empty in self.entry if place is not None]
        self._free = sorted([i for i, _ in self._given] + [i for i, _ in self._rebound])
        self._moving = sorted([*self._free, *(i for i, _, _ in self._gradients)])
        self._stay = not self._moving and not self.rebinding
        self._takes_numbers = bool(self.given_numbers.places)
        self._fixed = sorted(set(range(len(externals))).difference(self._moving))
        self._repetitions: list[tuple[Identities | None, Repetition]] = []
        self._misses = 0
        self._settle()

    def _settle(self) -> None:
        """Take note of what is around the function as it is now."""
        externals = self.captured.externals
        written = set(self.captured.written)
        self._tensors = [e.tensor for e in externals]
        fixed = [self._tensors[i] for i in self._fixed]
        self._ids = frozenset(map(id, fixed))
        self._written = frozenset(id(owner(externals[i].tensor._data)) for i in self._fixed if externals[i] in written)
        self._written_fixed = [at for at, i in enumerate(self._fixed) if externals[i] in written]
        self._written_later = [i for i in self._moving if externals[i] in written]
        leaves = [tensor._node for tensor in fixed if tensor._node is not None]
        self._around = None
        if all(type(node) is Leaf and not node.hooks and not node.after for node in leaves):
            containers, found, keyed, chosen = self.surroundings.watched()
            hooks = [x for node in leaves for x in (node.hooks, node.after) if x is not None]
            of_leaves = [(_hooks, leaves), (_after, leaves)]
            of_tensors = [(tensor, _OF_TENSORS) for tensor in fixed]
            made = self.surroundings.made()
            self._around = Identities([*containers, *hooks], [*found, *of_leaves], keyed, chosen, of_tensors, *made)

    def move(self, around: Callable[[Reads | None, Collection[int]], Surroundings]) -> bool:
        """Whether the things around the function are the same in other objects; it is then a capture with those.

        Args:
            around: what is around the function now, of the attributes that count, with lists that grow.
        """
        now = around(self.surroundings.reads, {id(container.get(key)) for container, key in self.growing})
        moves = Moves(self.surroundings, now)
        strange = any(not moves.knows(self._tensors[i]) for i in self._fixed)
        if strange or not moves.complete():
            return False
        self.captured.move(moves)
        for slot in (*self.slots, *self.written):
            slot.holder = moves(slot.holder)
        self.entry = [(moves(tensor), place, empty) for tensor, place, empty in self.entry]
        self.growing = [(moves(container), key) for container, key in self.growing]
        self.rebinding = [(moves(container), key, kind) for container, key, kind in self.rebinding]
        self.rebound = [spot and (moves(spot[0]), *spot[1:]) for spot in self.rebound]
        self.surroundings = now
        self.__post_init__()
        self._around = None  # whether the tensors are of the same kind is not known yet
        return True

    def fits(self, structure: Any, leaves: list[Any]) -> tuple[str | None, list[Tensor]]:
        """What speaks against this capture for a call (None for nothing), and the tensors that it then works with."""
        if structure != self.structure:
            return "the structure of the arguments differs", []
        modes = modes_now()
        if modes != self.modes:
            return f"a mode differs (gradients, default dtype, …): {modes} instead of {self.modes}", []
        for i, (given, known) in enumerate(zip(leaves, self.leaves, strict=True)):
            if known is TENSOR:
                if not isinstance(given, Tensor):
                    return f"argument {i} is no tensor", []
            elif given is not known and not _alike(given, known):
                return f"argument {i} was {known!r:.60} and is {given!r:.60}", []
        if self._varying and firsts(leaves, self._varying) != self.firsts:
            return "other arguments are the same tensor", []
        if self._takes_numbers:
            self.given_numbers.take(leaves)
        same_around = self._around is not None and self._around.hold()
        reason = self.surroundings.change_of_arrays() if same_around else self.surroundings.change()
        reason = reason or self._numbers() or self._missing(leaves)
        if reason is not None:
            return reason, []
        if same_around and self._stay:
            return None, self._tensors
        tensors = self._tensors.copy() if self._moving else self._tensors
        for i, place in self._given:
            tensors[i] = leaves[place]
        for i, holder, at in self._gradients:
            tensors[i] = (holder if at is None else leaves[at])._grad  # type: ignore[assignment]
        if self.rebinding:
            for container, key, kind in self.rebinding:
                if kind_of(container.get(key)) != kind:
                    return f"what is replaced at every call, {key}, is of another kind", []
            for i, spot in self._rebound:
                tensors[i] = found(spot)
        reason = self._unlike(tensors, same_around=same_around) or self._aliased(tensors)
        return reason, tensors

    def takes(self, structure: Any, leaves: list[Any]) -> bool:
        """Whether the arguments that are no tensors are those of this capture."""
        pairs = zip(leaves, self.leaves, strict=False)
        return structure == self.structure and all(known is TENSOR or _alike(given, known) for given, known in pairs)

    def given(self, arguments: Any) -> list[dict[Any, Any]] | None:
        """The dicts out of which something is taken; None where one is also elsewhere, so that it would be missed there."""
        found = [x for x, _ in containers(arguments)]
        ids = list(map(id, found))
        dicts = [found[i] for i, _ in self.taken]
        alone = all(ids.count(id(x)) == 1 and not self.surroundings.hold(x) for x in dicts)
        return dicts if alone else None

    def take(self, dicts: list[dict[Any, Any]]) -> None:
        """Take out of them what the function takes out."""
        for x, (_, keys) in zip(dicts, self.taken, strict=True):
            for key in keys:
                del x[key]

    def outputs(self, tensors: list[Tensor]) -> list[Any]:
        """As `Captured.outputs`, for tensors that fit.

        Raises:
            Exception: of an operator, or because a condition does not hold; nothing has been changed then.
        """
        around = self._around
        while self._repetitions:
            of, repetition = self._repetitions.pop()
            if of is around and repetition.holds():
                self._misses = 0
                try:
                    return self.captured.outputs(tensors, repetition.compute)
                finally:
                    self._repetitions.append((of, repetition))
            self._misses += 1
            repetition.end()
        outs = self.captured.outputs(tensors)
        if around is not None and self._misses < _MOST_MISSES:
            made = repeated(self.captured, tensors, self._moving)
            if made is not None:
                self._repetitions.append((around, made))
        return outs

    def _numbers(self) -> str | None:
        for slot in self.slots:
            if not slot.fits():
                return f"the type of {slot.name} differs"
        for question, answer, before in self.conditions:
            if not same(answer(), before):
                return f"a number answers {question} differently: {answer()} instead of {before}"
        return None

    def _missing(self, leaves: list[Any]) -> str | None:
        """Whether gradients are there that were not, or the other way round."""
        if not self.entry:
            return None
        wrong = any(gradient is not None for gradient in map(_grad, self._empty))
        wrong = wrong or None in map(_grad, self._full)
        wrong = wrong or any((leaves[place]._grad is None) is not empty for place, empty in self._of_arguments)
        if not wrong:
            return None
        return ".grad of a tensor is None that was not, or is set that was not"

    def _unlike(self, tensors: list[Tensor], *, same_around: bool) -> str | None:
        """Whether a tensor is not as it was."""
        for i in self._moving if same_around else range(len(tensors)):
            now = signature(tensors[i])
            if now != self.signatures[i]:
                place = self.places[i]
                what = f"tensor argument {place}" if place is not None else "a tensor around the function"
                return f"{what} was {_told(self.signatures[i])} and is {_told(now)}"
        if not same_around:
            arrays = [self._tensors[i]._data for i in self._fixed]
            if share_what_is_written(arrays, self._written_fixed):
                return "tensors around the function share memory that is written into"
            self._settle()
        return None

    def _aliased(self, tensors: list[Tensor]) -> str | None:
        """Whether memory that is written into is now that of several tensors, or an argument is given twice."""
        if not self._moving:
            return None
        moving = [tensors[i] for i in self._moving]
        known = {id(tensor) for tensor in moving}
        if len(known) != len(moving) or not known.isdisjoint(self._ids):
            return "the same tensor is given twice, or is also one around the function"
        if not self.captured.written or not self._free:
            return None
        arguments = [id(owner(tensors[i]._data)) for i in self._free]
        if not self._written.isdisjoint(arguments):
            return "arguments share memory that is written into"
        for i in self._written_later:
            mine = id(owner(tensors[i]._data))
            others = range(len(tensors)) if i in self._free else self._free
            if any(j != i and id(owner(tensors[j]._data)) == mine for j in others):
                return "arguments share memory that is written into"
        return None


def _alike(given: Any, known: Any) -> bool:
    return same(given, known) or (type(known) is Number and known.kind is type(given))


def firsts(leaves: list[Any], which: list[int]) -> list[int]:
    """For each of these leaves the index of the first that is the same one."""
    first: dict[int, int] = {}
    return [first.setdefault(id(leaves[i]), i) for i in which]


def signature(tensor: Tensor) -> tuple[Any, ...]:
    """What a capture relies on in a tensor."""
    data, node = tensor._data, tensor._node
    if not is_array(data):
        return (type(data),)
    kind = 0 if node is None else 1 if type(node) is Leaf else 2
    hooks = (*(node.hooks or {}).values(), *((node.after or {}).values() if kind == 1 else ())) if kind else ()
    attributes = vars(tensor)
    own = [
        (key, attributes[key] if isinstance(attributes[key], PLAIN_RESULTS) else id(attributes[key]))
        for key in own_attributes(tensor)
    ]
    return (data.shape, data.dtype, data.strides, kind, type(tensor), device_of(data), *hooks, *own)


def _told(signature: tuple[Any, ...]) -> str:
    if len(signature) < 5:
        return "without numbers"
    shape, dtype, strides, kind, of, device, *_ = signature
    history = ("without gradient", "a leaf that requires a gradient", "a result that requires a gradient")[kind]
    return f"{of.__name__} {dtype}{list(shape)} on {device}, strides {list(strides)}, {history}"
