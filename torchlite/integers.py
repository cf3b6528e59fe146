"""Integers as Python's own: those of NumPy overflow at their own width, and meet everything that computes with sizes."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

F = TypeVar("F", bound=Callable[..., Any])


def integer(n: Any) -> int:
    """What says that it is an integer, as one of Python.

    >>> -integer(np.uint8(200))
    -200

    Raises:
        TypeError: for everything else, numbers with a fraction among others.
    """
    return n if type(n) is int else operator.index(n)


def takes_integers(function: F) -> F:
    """Give a function that computes with sizes, dimensions and counts those of NumPy as integers of Python, in sequences as well."""

    @functools.wraps(function)
    def with_own(*args: Any, **kwargs: Any) -> Any:
        return function(*map(_own, args), **{name: _own(value) for name, value in kwargs.items()} if kwargs else kwargs)

    return with_own  # type: ignore[return-value]


def _own(value: Any) -> Any:
    if isinstance(value, np.integer):
        return int(value)
    if type(value) in (tuple, list) and any(isinstance(n, np.integer) for n in value):
        return type(value)(map(_own, value))
    return value
