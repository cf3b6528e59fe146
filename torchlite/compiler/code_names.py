"""What the code of a function names: globals, attributes, and modules that it imports."""

from __future__ import annotations

import dis
import functools
import importlib.util
import sys
import types
from collections import deque
from typing import Any

from torchlite.compiler.reads import PAST_THEM

_LIBRARIES = sys.stdlib_module_names | {"builtins", "numpy", "torch", "torchlite"}

_OF_THEIR_OBJECT = frozenset(("__init__", "__post_init__", "__setstate__", *PAST_THEM))
"""Methods that get at attributes of the object whose class defines or is making it."""


def is_library(module: str | None) -> bool:
    """Whether a module is one whose globals nobody changes."""
    return module is not None and module.partition(".")[0] in _LIBRARIES


@functools.lru_cache(4096)
def names_in(code: types.CodeType) -> tuple[frozenset[str], frozenset[str], frozenset[tuple[int, str]]]:
    """Names of globals, of attributes and of imported modules (with their levels), in a function and in those that it defines."""
    names, attributes = set[str](), set[str]()
    modules = set[tuple[int, str]]()
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            inner = names_in(constant)
            names |= inner[0]
            attributes |= inner[1]
            modules |= inner[2]
    before: deque[Any] = deque([None, None], 2)  # an import is preceded by its level and what it takes of the module
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME":
            modules.add((before[0] or 0, instruction.argval))
        elif instruction.opcode in dis.hasname:
            if instruction.argval in PAST_THEM and code.co_name in _OF_THEIR_OBJECT:
                continue
            is_global = "GLOBAL" in instruction.opname or instruction.opname.endswith("_NAME")
            (names if is_global else attributes).add(instruction.argval)
        before.append(instruction.argval)
    return frozenset(names), frozenset(attributes), frozenset(modules)


def imported_module(module: tuple[int, str], scope: dict[str, Any]) -> Any:
    """A module that a function imports; None where it has not been imported yet."""
    level, name = module
    try:
        return sys.modules.get(importlib.util.resolve_name("." * level + name, scope.get("__package__")))
    except ImportError:
        return None
