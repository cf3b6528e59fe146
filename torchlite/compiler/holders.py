"""What holds Python values by name, where that is no dict: slots, a class, a list, a cell of a closure."""

from __future__ import annotations

import types
from abc import ABC, abstractmethod
from typing import Any

MISSING = object()
"""What stands for a value where there is none."""


class Holding(ABC):
    """Something that can be asked for values by name, like a dict."""

    of: Any

    @abstractmethod
    def get(self, name: str, otherwise: Any = None) -> Any:
        """A value."""

    def key(self, name: str) -> tuple[int, str]:
        """What tells this place apart from all others."""
        return id(self.of), name

    def of_another(self, of: Any) -> Any:
        """The same of another object."""
        return type(self)(of)  # type: ignore[call-arg]

    def __getitem__(self, name: str) -> Any:
        found = self.get(name, MISSING)
        if found is MISSING:
            raise KeyError(name)
        return found


class Attributes(Holding):
    """The attributes of an object, as anybody asks for them."""

    def __init__(self, of: Any) -> None:
        self.of = of

    def get(self, name: str, otherwise: Any = None) -> Any:
        """An attribute."""
        return getattr(self.of, name, otherwise)

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self.of, name, value)

    def __delitem__(self, name: str) -> None:
        delattr(self.of, name)


class Slots(Holding):
    """What an object keeps in the slots of one of its classes; derived classes may have others of the same names, or properties.

    Args:
        of: the object.
        kind: the class.
    """

    def __init__(self, of: Any, kind: type) -> None:
        self.of, self.kind = of, kind
        self._slots = slots_of(kind)

    def keys(self) -> tuple[str, ...]:
        """All names."""
        return tuple(self._slots)

    def key(self, name: str) -> tuple[int, str]:
        """What tells a slot apart from all others."""
        return id(self.of), f"{id(self.kind)}.{name}"

    def of_another(self, of: Any) -> Slots:
        """The same slots of another object."""
        return Slots(of, self.kind)

    def get(self, name: str, otherwise: Any = None) -> Any:
        """What is in a slot."""
        try:
            return self._slots[name].__get__(self.of)
        except AttributeError:
            return otherwise

    def __setitem__(self, name: str, value: Any) -> None:
        self._slots[name].__set__(self.of, value)

    def __delitem__(self, name: str) -> None:
        self._slots[name].__delete__(self.of)


def slots_of(kind: type) -> dict[str, Any]:
    """The slots that a class has itself, by name."""
    slots = vars(kind).items() if "__slots__" in vars(kind) else ()
    return {name: x for name, x in slots if isinstance(x, types.MemberDescriptorType) and x.__name__ == name}


class OfClass(Holding):
    """The attributes of a class itself."""

    def __init__(self, of: type) -> None:
        self.of = of

    def get(self, name: str, otherwise: Any = None) -> Any:
        """An attribute."""
        return vars(self.of).get(name, otherwise)

    def __setitem__(self, name: str, value: Any) -> None:
        type.__setattr__(self.of, name, value)

    def __delitem__(self, name: str) -> None:
        type.__delattr__(self.of, name)


LENGTH = "length"


class Elements(Holding):
    """The elements of a list, by their indices as text, and its length."""

    def __init__(self, of: list[Any]) -> None:
        self.of = of

    def keys(self) -> tuple[str, ...]:
        """All names."""
        return (*map(str, range(len(self.of))), LENGTH)

    def get(self, name: str, otherwise: Any = None) -> Any:
        """An element."""
        if name == LENGTH:
            return len(self.of)
        return self.of[int(name)] if int(name) < len(self.of) else otherwise

    def __setitem__(self, name: str, value: Any) -> None:
        if int(name) < len(self.of):
            self.of[int(name)] = value


class Cell(Holding):
    """What a cell of a closure holds, under any name."""

    def __init__(self, of: types.CellType) -> None:
        self.of = of

    def key(self, _name: str) -> tuple[int, str]:
        """What tells a cell apart from all others."""
        return id(self.of), ""

    def get(self, _name: str, otherwise: Any = None) -> Any:
        """The content."""
        try:
            return self.of.cell_contents
        except ValueError:
            return otherwise

    def __setitem__(self, _name: str, value: Any) -> None:
        self.of.cell_contents = value


Holder = tuple[Any, str]
"""A dict or `Holding`, and a key."""


def key_of(container: Any, key: str) -> tuple[int, str]:
    """What tells holders apart."""
    return container.key(key) if isinstance(container, Holding) else (id(container), key)
