"""The libraries of kernels: C texts of this folder, each compiled when one of its functions is first wanted.

Whether a kernel is used depends on shapes and dtypes and on whether C can be compiled here, never on time: the choice
changes rounding, and equal runs shall give equal numbers.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from torchlite.backends.memory import CPYTHON
from torchlite.backends.native import calls, toolchain
from torchlite.backends.threads import follow_threads

_HERE = Path(__file__).parent
GRAIN = 1 << 14  # numbers that a task takes, as ``parallel.h`` says


def text(*names: str) -> str:
    """The C text of files of this folder, one after the other."""
    return "\n".join((_HERE / name).read_text() for name in names)


def _pool_text() -> str:
    return text("pool.c")


@functools.cache
def pool() -> Any:
    """The pool of threads; ``pool().pool_run`` is what kernels call for the work of several.

    Raises:
        Unavailable: where C can't be compiled.
    """
    library = toolchain.load(_pool_text())
    library.pool_set_threads.argtypes = [ctypes.c_int]
    follow_threads(library.pool_set_threads)
    atexit.register(library.pool_stop)
    return library


def load(source: str) -> ctypes.CDLL:
    """A C text that begins with ``parallel.h``, compiled, loaded and bound to the pool.

    Raises:
        Unavailable: where C can't be compiled.
    """
    return load_all([source])[0]


def load_all(sources: Sequence[str]) -> list[ctypes.CDLL]:
    """Several such texts, compiled at the same time.

    Raises:
        Unavailable: where C can't be compiled.
    """
    if not pool.cache_info().currsize:
        toolchain.compiled_together([_pool_text(), *sources])
    run = ctypes.cast(pool().pool_run, ctypes.c_void_p)
    libraries = toolchain.load_all(sources)
    for library in libraries:
        library.bind.argtypes = [ctypes.c_void_p]
        library.bind(run)
    return libraries


class _Array(ctypes.c_void_p):
    """The type of an argument that is a NumPy array, handed over as its address; None becomes NULL."""

    @classmethod
    def from_param(cls, array: Any) -> Any:
        return None if array is None else cls(array.ctypes.data)


_TYPES = {
    "a": _Array, "n": ctypes.c_long, "f": ctypes.c_float, "d": ctypes.c_double, "i": ctypes.c_int, "p": ctypes.c_void_p,
    "o": ctypes.py_object, "-": None,
}  # fmt: skip


def objects(arrays: Sequence[Any]) -> Any:
    """The arrays as ``arrays.h`` reads them, for a function of a family that `understands_arrays`."""
    return (ctypes.c_void_p * len(arrays))(*map(id, arrays))


def _through_ctypes(library: ctypes.CDLL, name: str, signature: str) -> Any:
    arguments, _, result = signature.partition("->")
    function = getattr(library, name)
    function.argtypes = [_TYPES[letter] for letter in arguments]
    function.restype = _TYPES[result or "-"]
    return function


class Family:
    """The functions of one C file of this folder, which are attributes once they are `available`.

    Args:
        files: what its text consists of after ``parallel.h``, itself the last.
        apart: groups of functions of a file that takes long to be compiled. Each of them becomes a text of its own, when it
            is first wanted, and where there are several processors the others of its group at the same time: who calls an
            operator will call its gradient. Functions in no group are short and in all of the texts. The file marks
            all of them with ``KERNEL``.
        functions: for each function the types of its arguments, a for arrays, n for longs, f for floats, p for
            other pointers, o for arrays as ``arrays.h`` reads them, and where it has one behind an arrow the type of its
            result, i for int, d for double and o for any object: ``reduce="aaannn->i"``. With the last no other thread of
            Python runs meanwhile.
    """

    def __init__(self, *files: str, apart: Sequence[tuple[str, ...]] = (), **functions: str) -> None:
        self._files = files
        self._functions = functions
        self._groups = apart if CPYTHON else ()
        self._libraries: dict[str, ctypes.CDLL] = {}
        self._failure: toolchain.Unavailable | None = None

    @functools.cached_property
    def text(self) -> str:
        """All of the C text."""
        return self._text(self._functions)

    def _text(self, names: Iterable[str]) -> str:
        directly = {name: self._functions[name] for name in names if calls.callable_directly(self._functions[name])}
        linkage = "#define KERNEL static\n" if self.apart else ""
        return linkage + "\n".join((text("parallel.h", "calls.h", *self._files), calls.text(directly)))

    @property
    def apart(self) -> bool:
        """Whether its functions are compiled one by one."""
        return bool(self._groups)

    def available(self, name: str | None = None) -> bool:
        """Whether the file is compiled, which the first call does; after one warning False where it can't be.

        Of functions that are compiled one by one the one of that name; without it, whether there is what compiles them.
        """
        try:
            if self.apart and name is None:
                toolchain.ready()
            else:
                self._library(name or next(iter(self._functions)))
        except toolchain.Unavailable as error:
            warn_once(str(error))
            return False
        return True

    def guarded(self, run: Callable[..., Any]) -> Callable[..., Any]:
        """``run``, which calls functions of this family; it returns None where one can't be compiled that is found so late."""
        if not self.apart:
            return run

        @functools.wraps(run)
        def checked(*arguments: Any, **params: Any) -> Any:
            try:
                return run(*arguments, **params)
            except toolchain.Unavailable as error:
                warn_once(str(error))
                return None

        return checked

    def _library(self, name: str) -> ctypes.CDLL:
        """The library with the function of that name."""
        if name not in self._libraries:
            if self._failure is not None:
                raise self._failure
            try:
                self._load(self._texts_for(name))
            except toolchain.Unavailable as error:
                self._failure = error
                raise
        return self._libraries[name]

    def _texts_for(self, name: str) -> list[tuple[str, ...]]:
        """Which functions are to be compiled, those of each text together."""
        if not self.apart:
            return [tuple(self._functions)]
        everywhere = sorted(self._functions.keys() - {name for group in self._groups for name in group})
        if name in everywhere:
            return [tuple(everywhere)]
        group = next(group for group in self._groups if name in group)
        others = [other for other in group if other != name and other not in self._libraries]
        return [(kernel, *everywhere) for kernel in (name, *(others if toolchain.processors() > 1 else ()))]

    def _load(self, texts: Sequence[tuple[str, ...]]) -> None:
        sources = [self._text(names) for names in texts] if self.apart else [self.text]
        for names, library in zip(texts, load_all(sources), strict=True):
            if CPYTHON:
                calls.bind(library)
            self._libraries |= dict.fromkeys(names, library)

    @functools.cached_property
    def understands_arrays(self) -> bool:
        """Whether ``arrays.h``, with which its text must begin, finds what is in an array of this Python."""
        probe = np.zeros((2, 3), np.float32)
        return CPYTHON and bool(self.understands(probe, probe, 3))

    def __getattr__(self, name: str) -> Any:
        try:
            signature = self._functions[name]
        except KeyError:
            raise AttributeError(f"{self._files[-1]} has no function {name!r}") from None
        library, direct = self._library(name), calls.callable_directly(signature)
        function = calls.function(library, name) if direct else _through_ctypes(library, name, signature)
        setattr(self, name, function)
        return function


_warned = False


def warn_once(reason: str) -> None:
    """Warn that C can't be compiled, the first time that it matters."""
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            f"torchlite computes with NumPy alone, which is slower: {reason} (TORCHLITE_NATIVE=0 silences this)",
            RuntimeWarning,
            stacklevel=2,
        )
