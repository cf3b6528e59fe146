"""NVIDIA's shared libraries by ctypes: where they are looked for, the prototypes of functions, what failures become."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_TYPES = {
    "p": ctypes.c_void_p, "i": ctypes.c_int, "n": ctypes.c_size_t, "l": ctypes.c_int64, "s": ctypes.c_char_p, "-": None,
}  # fmt: skip


def candidates(file: str) -> list[str]:
    """Where a library may be: in wheels (``nvidia-…``), then where the system's loader looks."""
    found = importlib.util.find_spec("nvidia")
    places = found.submodule_search_locations or () if found else ()
    return [*(str(path) for place in places for path in sorted(Path(place).glob(f"*/lib/{file}"))), file]


class Failure(RuntimeError):
    """A call that a library refused.

    Attributes:
        status: what the function returned.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Library:
    """A library's functions, called by `call`.

    Args:
        title: what it is called in messages.
        file: gives the name of its file.
        functions: for each the types of its arguments, p for pointers, i for ints and enumerators, n for sizes, l for int64_t,
            and behind an arrow that of its result where it is no status: s for a string, - for none.
        explain: from the loaded library and a status what went wrong.
    """

    def __init__(
        self,
        title: str,
        file: Callable[[], str],
        functions: Mapping[str, str],
        explain: Callable[[ctypes.CDLL, int], str],
    ) -> None:
        self.title = title
        self.file = file
        self.functions = functions
        self._explain = explain

    @functools.cached_property
    def loaded(self) -> ctypes.CDLL | None:
        """The library with the prototypes set; None where it is not found or lacks a function."""
        for path in candidates(self.file()):
            try:
                library = ctypes.CDLL(path)
                for name, types in self.functions.items():
                    arguments, _, result = types.partition("->")
                    function = getattr(library, name)
                    function.argtypes = [_TYPES[kind] for kind in arguments]
                    function.restype = _TYPES[result or "i"]
            except (OSError, AttributeError):
                continue
            return library
        return None

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function that returns a status.

        Raises:
            Failure: with the function's name and the library's words for the status.
        """
        status = getattr(self.loaded, name)(*arguments)
        if status:
            assert self.loaded is not None
            reason = self._explain(self.loaded, status)
            raise Failure(f"{self.title}: {name} failed: {reason} ({status})", status)

    def create(self, name: str) -> ctypes.c_void_p:
        """What a function makes that has only the place for it as argument."""
        made = ctypes.c_void_p()
        self.call(name, ctypes.byref(made))
        return made


class Descriptor:
    """What a library describes something by, freed with this object.

    Args:
        library: whose it is.
        create, destroy: the functions that make and free it.
        arguments: what ``create`` is called with behind the place for the pointer.
    """

    def __init__(self, library: Library, create: str, destroy: str, *arguments: Any) -> None:
        self.pointer = ctypes.c_void_p()
        library.call(create, ctypes.byref(self.pointer), *arguments)
        weakref.finalize(self, library.call, destroy, self.pointer).atexit = False
