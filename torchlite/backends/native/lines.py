"""Arrays that begin at lines of the caches.

NumPy's begin at multiples of 16 bytes, large ones 16 behind a page, so every load and store of a vector of 64 bytes touches
two lines. What is made inside of `at_lines` begins at one; it owns its memory as other arrays do, and others lie as ever.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

from torchlite.backends.memory import CPYTHON
from torchlite.backends.native import toolchain

LEAST = 1 << 14  # bytes of an array from which on it is worth it
_SET_HANDLER, _GET_HANDLER = 304, 305  # places of PyDataMem_SetHandler and PyDataMem_GetHandler in NumPy's C interface


class at_lines:
    """A context in which NumPy's new arrays begin at lines, in this thread; where C can't be compiled nothing changes.

    Args:
        size: bytes of the array that is made; nothing changes either for fewer than `LEAST`.
    """

    __slots__ = ("_allocator", "_before")

    def __init__(self, size: int = LEAST) -> None:
        self._allocator = _allocator() if size >= LEAST else None

    def __enter__(self) -> None:
        if self._allocator is not None:
            self._before = self._allocator.use(self._allocator.handler)

    def __exit__(self, *_: object) -> None:
        if self._allocator is not None:
            self._allocator.use(self._before)


class _Allocator(NamedTuple):
    """An allocator of NumPy: what makes a handler that of this thread and gives the one before, ours, and the one that it asks."""

    use: Callable[[object], object]
    handler: object
    asked: object


@functools.cache
def _allocator() -> _Allocator | None:
    """The one of ``lines.c``; None where it can't be compiled."""
    if not (CPYTHON and toolchain.enabled()):
        return None
    from torchlite.backends.native.library import text

    try:
        library = toolchain.load(text("lines.c"))
    except toolchain.Unavailable:
        return None
    address, made_by = ctypes.c_void_p, ctypes.PYFUNCTYPE
    content = made_by(address, ctypes.py_object, address)(("PyCapsule_GetPointer", ctypes.pythonapi))
    capsule = made_by(ctypes.py_object, address, address, address)(("PyCapsule_New", ctypes.pythonapi))
    numpy: Any = importlib.import_module("numpy._core._multiarray_umath")
    interface = ctypes.cast(content(numpy._ARRAY_API, None), ctypes.POINTER(address))
    asked = made_by(ctypes.py_object)(interface[_GET_HANDLER])()
    name = ctypes.addressof(ctypes.c_char.in_dll(library, "capsule_name"))
    library.handler_above.restype, library.handler_above.argtypes = address, [address]
    handler = capsule(library.handler_above(content(asked, name)), name, None)
    return _Allocator(made_by(ctypes.py_object, ctypes.py_object)(interface[_SET_HANDLER]), handler, asked)
