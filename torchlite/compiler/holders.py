"""What holds Python values by name, where that is no dict: slots, a class, a list, a cell of a closure."""

from __future__ import annotations

import types
from typing import Any

MISSING = object()
"""What stands for a value where there is none."""


class Holding:
    """Something that can be asked for values by name, like a dict."""

    of: Any

    def get(self, name: str, otherwise: Any = None) -> Any:
        """A value."""
        raise NotImplementedError

    def __getitem__(self, name: str) -> Any:
        found = self.get(name, MISSING)
        if found is MISSING:
            raise KeyError(name)
        return found


class Attributes(Holding):
    """The attributes of an object that keeps them in slots."""

    def __init__(self, of: Any) -> None:
        self.of = of

    def get(self, name: str, otherwise: Any = None) -> Any:
        """An attribute."""
        return getattr(self.of, name, otherwise)

    def __setitem__(self, name: str, value: Any) -> None:
        slot = getattr(type(self.of), name, None)
        if isinstance(slot, types.MemberDescriptorType):
            slot.__set__(self.of, value)
        else:
            setattr(self.of, name, value)

    def __delitem__(self, name: str) -> None:
        delattr(self.of, name)


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
    if isinstance(container, Holding):
        return id(container.of), "" if isinstance(container, Cell) else key
    return id(container), key
