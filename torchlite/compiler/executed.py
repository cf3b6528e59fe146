"""Which names the program's code names that has run while a function was traced.

Attributes of classes are asked for in ways that no method notes. Where one changes that is only data, it counts if code
that has run names it.
"""

from __future__ import annotations

import abc
import sys
import types
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torchlite._tensor import Tensor
from torchlite.compiler.code_names import is_library, names_in
from torchlite.compiler.noted import PLAIN

_BY_TEXT = frozenset(
    ("getattr", "hasattr", "setattr", "delattr", "vars", "dir", "eval", "exec", "attrgetter", "getmembers", "__dict__")
)
"""Names by which code gets at attributes that it does not name."""
_DATA = (*PLAIN, Tensor, list, dict, set, tuple, deque)


@contextmanager
def executed(*, wanted: bool) -> Iterator[set[types.CodeType]]:
    """The code of the program that this thread runs inside the block; none where it is not wanted or another profiler is at work."""
    codes: set[types.CodeType] = set()
    if not wanted or sys.getprofile() is not None:
        yield codes
        return

    def note(frame: types.FrameType, event: str, _: Any) -> None:
        if event == "call" and not is_library(frame.f_globals.get("__name__")):
            codes.add(frame.f_code)

    sys.setprofile(note)
    try:
        yield codes
    finally:
        sys.setprofile(None)


def names_of(codes: set[types.CodeType]) -> frozenset[str] | None:
    """The names of attributes and globals in code that has run; None where it gets at attributes in other ways, or is not known."""
    names = frozenset[str]().union(*(part for code in codes for part in names_in(code)[:2]))
    return names if codes and names.isdisjoint(_BY_TEXT) else None


def is_unread(cls: type, key: str, value: Any, names: frozenset[str]) -> bool:
    """Whether an attribute of a class is data that code with these names, and libraries, have not asked for."""
    if key in names or type(cls) not in (type, abc.ABCMeta) or type(value) not in _DATA or key.startswith("_"):
        return False
    return not any(key in vars(base) for base in cls.__mro__ if is_library(base.__module__))
