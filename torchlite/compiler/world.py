"""What a function asks of the world around Python or does to it: it reads the clock, opens a file, logs, prints.

A replay would not. So while a function is traced, stand-ins in the places of what does such things refuse it in that thread.
The functions of `math` have stand-ins, too, for numbers that only a replay knows.
"""

from __future__ import annotations

import builtins
import datetime
import functools
import gc
import io
import math
import os
import random
import sys
import threading
import time
import types
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torchlite.compiler import mathematics
from torchlite.compiler.holders import MISSING
from torchlite.tracing import refuse

_CLOCKS = ("time", "perf_counter", "monotonic", "process_time", "thread_time")
_TOLD = ("localtime", "gmtime", "ctime", "asctime", "strftime")
_FILES = (
    "stat", "lstat", "listdir", "scandir", "remove", "unlink", "mkdir", "rmdir", "rename", "replace", "read", "write",
)  # fmt: skip
_DOING = [
    *((time, name + suffix, "reads the clock") for name in _CLOCKS for suffix in ("", "_ns")),
    *((time, name, "reads the clock") for name in _TOLD),
    *((os, name, "asks for files or changes some") for name in _FILES if hasattr(os, name)),
    *((os, name, "asks for the current folder") for name in ("getcwd", "getcwdb")),
    (gc, "isenabled", "asks whether garbage is collected"),
    (sys, "getrecursionlimit", "asks how deep calls may go"),
    (os, "system", "runs another program"),
    (time, "sleep", "waits"),
    (builtins, "open", "opens a file"),
    (io, "open", "opens a file"),
    (builtins, "input", "asks for input"),
    (os, "urandom", "asks the operating system for random bytes"),
    (random, "_urandom", "asks the operating system for random bytes"),
]
# CuPy looks for its kernels in a folder; `cuda` is where it gets NVIDIA's libraries from.
_ASKING_FOR_OTHERS = {*sys.stdlib_module_names, "numpy", "cupy", "cupyx", "cupy_backends", "cuda"}
Named = tuple[dict[str, Any], str, Any]
"""A namespace, a name there, and what it means."""


class _Refusing:
    """A stream that refuses what a traced function writes."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> Any:
        refuse("it prints, which a replay would not")
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _refusing(function: Callable[..., Any], what: str) -> Callable[..., Any]:
    @functools.wraps(function)
    def stand_in(*args: Any, **kwargs: Any) -> Any:
        if _by_the_program():
            refuse(f"it {what}, which a replay would not")
        return function(*args, **kwargs)

    return stand_in


def _by_the_program() -> bool:
    """Whether it is not this package that asks, by itself or by the libraries of its backends."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        module = frame.f_globals.get("__name__", "").partition(".")[0]
        if module not in _ASKING_FOR_OTHERS:
            return bool(module != "torchlite")
        frame = frame.f_back
    return False


@functools.cache
def _stand_ins() -> dict[Any, Callable[..., Any]]:
    refusing = {getattr(module, name): _refusing(getattr(module, name), what) for module, name, what in _DOING}
    return refusing | mathematics.stand_ins()


@functools.cache
def _without_clock() -> Any:
    """The class `datetime.datetime`, which can't be changed itself, where it would read the clock."""
    real = datetime.datetime

    class Kind(type):
        def __instancecheck__(cls, x: Any) -> bool:
            return isinstance(x, real)

        def __subclasscheck__(cls, other: type) -> bool:
            return issubclass(other, real)

        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            return real(*args, **kwargs)

    reading = {
        name: staticmethod(_refusing(getattr(real, name), "reads the clock")) for name in ("now", "utcnow", "today")
    }
    return Kind("datetime", (real,), reading)


def _identifying(arguments: Collection[int]) -> Callable[[Any], int]:
    """`id`, which refuses those of arguments."""

    def stand_in(x: Any, /) -> int:
        if id(x) in arguments:
            refuse("it asks for the id of an argument, which is another one at every call")
        return id(x)

    return stand_in


class _Types(type):
    """The class of what stands for `type` where the program names it."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if len(args) != 1 or kwargs:
            return type(*args, **kwargs)
        found = type(args[0])
        if found.__module__.startswith("torchlite.compiler.") and hasattr(found, "stands_for"):
            return args[0].stands_for()
        return cls if found is type else found

    def __instancecheck__(cls, x: Any) -> bool:
        return isinstance(x, type)

    def __subclasscheck__(cls, other: type) -> bool:
        return issubclass(other, type)

    def __eq__(cls, other: object) -> bool:
        return other is cls or other is type

    def __hash__(cls) -> int:
        return hash(type)


_type: Any = _Types("type", (type,), {})
OF_PYTHON: dict[str, Callable[[Collection[int]], Any]] = {"id": _identifying, "type": lambda _: _type}
"""Functions of Python in the place of which something else stands where the program names them, given the ids of the arguments."""


def _stand_in_of(x: Any) -> Any:
    if x is datetime.datetime:
        return _without_clock()
    if x is datetime:
        module = types.ModuleType("datetime")
        vars(module).update(vars(datetime), datetime=_without_clock())
        return module
    return _stand_ins()[x]


def has_stand_in(x: Any) -> bool:
    """Whether something else has to stand in the place of a value while a function is traced: a function's, or `datetime`'s."""
    return (isinstance(x, types.BuiltinFunctionType) and x in _stand_ins()) or x is datetime or x is datetime.datetime


_lock = threading.Lock()
_watching = 0


@contextmanager
def watched(imported: Sequence[Named], arguments: Collection[int] = ()) -> Iterator[None]:
    """Let what the thread that traces asks of the world be refused inside the block.

    Args:
        imported: what `has_stand_in` names, in namespaces of the program; `MISSING` where one of `OF_PYTHON` is looked for and is Python's.
        arguments: ids of tensors that each call has others of, so that none may be asked for.
    """
    _watch(+1)
    before = sys.stdout, sys.stderr
    streams = _Refusing(sys.stdout), _Refusing(sys.stderr)
    sys.stdout, sys.stderr = streams
    for scope, name, function in imported:
        scope[name] = OF_PYTHON[name](arguments) if function is MISSING else _stand_in_of(function)
    try:
        yield
    finally:
        for scope, name, function in imported:
            if function is MISSING:
                scope.pop(name, None)
            else:
                scope[name] = function
        if (sys.stdout, sys.stderr) == streams:
            sys.stdout, sys.stderr = before
        _watch(-1)


def _watch(change: int) -> None:
    """Let the stand-ins be there while any thread traces."""
    global _watching
    with _lock:
        _watching += change
        if (_watching, change) in ((1, 1), (0, -1)):
            _exchange(to_stand_ins=change == 1)


@functools.cache
def _places() -> list[tuple[Any, str]]:
    """Modules and the names there of what has a stand-in."""
    return [(module, name) for module, name, _ in _DOING] + [(math, x.__name__) for x in mathematics.stand_ins()]


_originals: list[tuple[Any, str, Any]] = []


def _exchange(*, to_stand_ins: bool) -> None:
    if not to_stand_ins:
        while _originals:
            setattr(*_originals.pop())
        return
    for module, name in _places():
        function = getattr(module, name)
        if function in _stand_ins():
            _originals.append((module, name, function))
            setattr(module, name, _stand_ins()[function])
    logging: Any = sys.modules.get("logging")
    if logging is not None:
        _originals.append((logging.Logger, "makeRecord", logging.Logger.makeRecord))
        logging.Logger.makeRecord = _refusing(logging.Logger.makeRecord, "logs")
