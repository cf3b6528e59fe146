"""Lists that a function makes longer and never looks at: every replay appends to them what the function has computed.

While the function is traced an empty list stands in the place of each, which takes note of what is appended and refuses
all else. So what the list holds is nothing that a capture depends on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torchlite._tensor import Tensor
from torchlite.compiler.again import Again
from torchlite.compiler.holders import Holder, key_of
from torchlite.compiler.noted import PLAIN
from torchlite.compiler.numbers import HostNumber
from torchlite.compiler.state import Effect
from torchlite.tracing import active


class Looked(Again):
    """Lists that the function looks at, so that they must be as they were."""

    def __init__(self, holders: Sequence[Holder]) -> None:
        super().__init__(holders)
        self.holders = holders


class Grown(Again):
    """Lists that have become longer, and that were taken to be looked at."""

    def __init__(self, holders: Sequence[Holder]) -> None:
        super().__init__(holders)
        self.holders = holders


class GrowingList(list[Any]):
    """Stands in the place of a list."""

    def stands_for(self) -> type[Any]:
        """The type of the list."""
        return list

    def append(self, x: Any) -> None:
        """Take note of it."""
        _note(self, list.append, x)

    def extend(self, others: Iterable[Any]) -> None:
        """Take note of each."""
        for x in others:
            self.append(x)

    def __iadd__(self, others: Iterable[Any]) -> Any:  # type: ignore[misc]
        self.extend(others)
        return self


class GrowingDeque(deque[Any]):
    """Stands in the place of a deque."""

    def stands_for(self) -> type[Any]:
        """The type of the deque."""
        return deque

    def append(self, x: Any) -> None:
        """Take note of it."""
        _note(self, deque.append, x)

    def appendleft(self, x: Any) -> None:
        """Take note of it."""
        _note(self, deque.appendleft, x)

    def extend(self, others: Iterable[Any]) -> None:
        """Take note of each."""
        for x in others:
            self.append(x)

    def extendleft(self, others: Iterable[Any]) -> None:
        """Take note of each."""
        for x in others:
            self.appendleft(x)

    def __iadd__(self, others: Iterable[Any]) -> Any:
        self.extend(others)
        return self


def _note(stand_in: Any, method: Callable[..., None], x: Any) -> None:
    if active.tracer is None:  # another thread
        method(vars(stand_in)["of"], x)
    else:
        vars(stand_in)["added"].append((method, x))


def _refuse(name: str) -> Any:
    def refuse(self: Any, *args: Any, **kwargs: Any) -> Any:
        if active.tracer is None:
            return getattr(vars(self)["of"], name)(*args, **kwargs)
        vars(self)["looked_at"] = True
        raise Looked([vars(self)["holder"]])

    refuse.__name__ = name
    return refuse


_OF_OBJECTS = {
    "__class__", "__class_getitem__", "__delattr__", "__dir__", "__doc__", "__getattribute__", "__getstate__", "__hash__",
    "__init__", "__init_subclass__", "__new__", "__setattr__", "__subclasshook__", "maxlen",
}  # fmt: skip
for _kind, _base in ((GrowingList, list), (GrowingDeque, deque)):
    for _name in {*dir(_base), "__bool__", "__radd__"} - _OF_OBJECTS - {*vars(_kind)}:
        setattr(_kind, _name, _refuse(_name))

STAND_INS: dict[type, type] = {list: GrowingList, deque: GrowingDeque}


class Growing:
    """The lists around one traced call that only grow.

    Args:
        holders: of them.
        known: those that were found before, some of which the function looks at.

    Attributes:
        ids: of the lists.
    """

    def __init__(self, holders: Sequence[Holder], known: Collection[tuple[int, str]]) -> None:
        self.holders = list(holders)
        self._known = known
        self._lists = [(container, key, container.get(key)) for container, key in holders]
        self._stand_ins: list[Any] = []
        self.ids = {id(x) for _, _, x in self._lists}

    @contextmanager
    def exchanged(self) -> Iterator[None]:
        """Let stand-ins be in their places inside the block."""
        for container, key, x in self._lists:
            stand_in = GrowingDeque(maxlen=x.maxlen) if isinstance(x, deque) else GrowingList()
            vars(stand_in).update(of=x, added=[], looked_at=False, holder=(container, key))
            self._stand_ins.append(stand_in)
            container[key] = stand_in
        try:
            yield
        finally:
            for container, key, x in self._lists:
                container[key] = x

    def check_holders(self, surroundings: Any) -> None:
        """Go on with those that are around this call, each of which must be in its place, and only there.

        Raises:
            Looked: otherwise.
        """
        self._lists = [one for one in self._lists if surroundings.met[id(one[2])]]
        self.holders = [(container, key) for container, key, _ in self._lists]
        lost = [
            (container, key)
            for container, key, x in self._lists
            if surroundings.met[id(x)] > 1 or not surroundings.holds_place(container, key)
        ]
        if lost:
            raise Looked(lost)

    def is_new(self, holder: Holder) -> bool:
        """Whether nothing was known about a list."""
        return key_of(*holder) not in self._known

    def stands_in(self, x: Any) -> bool:
        """Whether something stands in the place of a list."""
        return any(x is one for one in self._stand_ins)

    def check(self) -> None:
        """That the function has looked at none.

        Raises:
            Looked: otherwise.
        """
        pairs = zip(self._lists, self._stand_ins, strict=True)
        looked = [(c, k) for (c, k, x), one in pairs if vars(one)["looked_at"] or type(x).__len__(one)]
        if looked:
            raise Looked(looked)

    def effects(self) -> Iterator[Effect]:
        """What every replay appends."""
        for (_, _, x), stand_in in zip(self._lists, self._stand_ins, strict=True):
            for method, value in vars(stand_in)["added"]:
                yield Effect(x, method, (value,), {})


def can_be_made_again(value: Any, taken: set[int]) -> bool:
    """Whether a replay can make what is appended: tensors, numbers, and new tuples, lists and dicts of them.

    Args:
        value: that.
        taken: ids of containers that are also elsewhere; those in it are added.
    """
    if issubclass(type(value), (Tensor, HostNumber, *PLAIN)):
        return True
    if type(value) is tuple:
        return all(can_be_made_again(part, taken) for part in value)
    if type(value) not in (list, dict) or id(value) in taken:
        return False
    taken.add(id(value))
    return all(can_be_made_again(part, taken) for part in (value.values() if type(value) is dict else value))
