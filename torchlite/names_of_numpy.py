"""NumPy's names of arguments, which PyTorch's operators take beside their own: ``x.sum(axis=1, keepdims=True)``."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

_NAMES = {"axis": "dim", "keepdims": "keepdim"}


def taking_names_of_numpy(function: Any) -> Any:
    """A function that takes ``axis`` for its argument ``dim`` and ``keepdims`` for its ``keepdim``; anything else as it is."""
    if not isinstance(function, types.FunctionType):
        return function
    names = _arguments(function)
    if names.isdisjoint(_NAMES.values()) or not names.isdisjoint(_NAMES):
        return function

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            for theirs, ours in _NAMES.items():
                if theirs in kwargs and ours not in kwargs:
                    kwargs[ours] = kwargs.pop(theirs)
        return function(*args, **kwargs)

    return call


def _arguments(function: Callable[..., Any]) -> set[str]:
    """The names of the arguments of a function and of those that it wraps."""
    code = getattr(function, "__code__", None)
    names = set() if code is None else set(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
    inner = getattr(function, "__wrapped__", None)
    return names if inner is None else names | _arguments(inner)
