"""What is known about a function from its captures, and from traces that ended in `Again`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from torchlite.compiler.again import Again
from torchlite.compiler.branches import Branches
from torchlite.compiler.changes import Written
from torchlite.compiler.changing import Changing, Decide
from torchlite.compiler.growing import STAND_INS, Grown, Looked
from torchlite.compiler.holders import Holder, key_of
from torchlite.compiler.rebinding import Rebound
from torchlite.compiler.state import Varies
from torchlite.compiler.tracer import Site

if TYPE_CHECKING:
    from torchlite.compiler.variant import Variant


class Learned:
    """What the next trace of a function begins with.

    Args:
        branches: whether numbers of tensors may decide between captures.

    Attributes:
        doubted: places that have relied on a condition in vain.
        branches: when those that numbers of tensors decide on are captured.
        varying: keys of optimizers' groups whose numbers change.
        counted: containers and keys of numbers that the function counts with.
        changing: numbers that others change.
        growing: what holds lists that become longer.
        looked_at: keys of those of them that the function looks at.
        rebound: what holds tensors that are replaced.
        looks_at_code: whether attributes of classes change, so that it matters which of them code names.
    """

    def __init__(self, *, branches: bool) -> None:
        self.doubted: set[Site] = set()
        self.branches = Branches(wanted=branches)
        self.varying: set[str] = set()
        self.counted: list[tuple[Any, str]] = []
        self.changing = Changing()
        self.growing: dict[tuple[int, str], Holder] = {}
        self.looked_at: set[tuple[int, str]] = set()
        self.rebound: dict[tuple[int, str], Holder] = {}
        self.looks_at_code = False

    def take(self, found: Again) -> None:
        """Take note of what a trace has found out."""
        match found:
            case Varies():
                self.varying |= found.keys
            case Written():
                self.counted += found.numbers
            case Decide():
                self.changing.decide(found.slots, found.count)
            case Grown():
                self.growing |= {key_of(*holder): holder for holder in found.holders}
            case Looked():
                self.looked_at |= {key_of(*holder) for holder in found.holders}
            case Rebound():
                self.rebound |= {key_of(*holder): holder for holder in found.holders}
            case _:
                raise found  # the next trace would end in it, too

    def compare(self, variants: Iterable[Variant], structure: Any, leaves: Sequence[Any]) -> None:
        """Take note of what is another for a call than it was for the captures there are."""
        variants = list(variants)
        self.varying |= {key for v in variants for key in v.surroundings.changed_numbers()}
        self.changing.note(variants, structure, leaves)
        self.looks_at_code |= any(v.surroundings.class_has_changed() for v in variants)

    def growing_lists(self) -> list[Holder]:
        """What holds lists that only become longer."""
        known = (holder for key, holder in self.growing.items() if key not in self.looked_at)
        return [(container, key) for container, key in known if type(container.get(key)) in STAND_INS]

    def puts_stand_ins(self) -> bool:
        """Whether a trace puts something in the places of numbers, lists or tensors, which may be more than the function can work with."""
        return bool(self.changing.used or self.growing_lists() or self.rebound)

    def put_none(self, count: int) -> None:
        """Let no trace do so any more, for a function that could only be captured without; there are so many leaves of the arguments."""
        self.changing.decide(self.changing.used, count)
        self.looked_at |= self.growing.keys()
