"""Texts among the arguments that are others at every call, such as the names of the files of a batch.

While a function is traced something else stands in the place of each, which can be passed on and returned. As soon as
anything asks what the text is, each text has a capture of its own.
"""

from __future__ import annotations

import sys
from typing import Any

from torchlite.compiler.changing import Decide
from torchlite.compiler.state import Slot


class GivenText:
    """Stands in the place of a text.

    Args:
        slot: where every call has its own.
        count: of the leaves of the arguments.

    Attributes:
        looked_at: whether something has asked what it is.
    """

    __slots__ = ("_count", "looked_at", "slot")

    def __init__(self, slot: Slot, count: int) -> None:
        self.slot = slot
        self._count = count
        self.looked_at = False

    @property  # type: ignore[misc]
    def __class__(self) -> type[Any]:
        """For ``isinstance`` in the program. This package is told what it is."""
        asks = sys._getframe(1).f_globals.get("__name__", "")
        return GivenText if asks.startswith("torchlite.") else str

    def stands_for(self) -> type[Any]:
        """The type of the text."""
        return str

    def __getattr__(self, name: str) -> Any:
        if name == "__dict__":
            raise AttributeError(name)
        return _look(self)


def _look(text: GivenText, *_args: Any, **_kwargs: Any) -> Any:
    text.looked_at = True
    raise Decide([text.slot], text._count)


_OF_OBJECTS = {
    "__class__",
    "__init__",
    "__new__",
    "__init_subclass__",
    "__subclasshook__",
    "__getattribute__",
    "__doc__",
}
_OF_OBJECTS |= {"__setattr__", "__delattr__"}
_ASKED = {
    "__radd__",
    "__rmod__",
    "__int__",
    "__float__",
    "__index__",
    "__bool__",
    "__bytes__",
    "__fspath__",
    "__array__",
}
_ASKED |= {"__reversed__", "__copy__", "__deepcopy__"}
for _name in {*dir(str), *_ASKED} - _OF_OBJECTS:
    if _name.startswith("__"):
        setattr(GivenText, _name, _look)
