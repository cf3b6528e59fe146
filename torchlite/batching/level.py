"""All examples of a `vmap` at once: what stands for an array while a function of one example runs on all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Unbatchable(Exception):
    """Raised where the numbers of one example are asked for: there are only those of all. `vmap` then goes one by one."""


class Level:
    """One `vmap` that is under way.

    Attributes:
        depth: how many it is inside of.
        examples: how many there are.
        different: whether random numbers are drawn for each example.
        run: ``run(op, values, mapped, params)`` runs an operator on the values of this level's tensors; which of them
            have a first dimension of examples, ``mapped`` says. It gives the result (or a tuple) and whether it has one.
        lifted: tensors that stand for their own numbers again when it ends.
    """

    def __init__(self, depth: int, examples: int, different: bool, run: Callable[..., Any]) -> None:
        self.depth = depth
        self.examples = examples
        self.different = different
        self.run = run
        self.lifted: list[Any] = []

    def __enter__(self) -> Level:
        levels.stack.append(self)
        return self

    def __exit__(self, *exc: object) -> None:
        levels.stack.pop()
        for x in self.lifted:
            x._data = x._data.value._data


class Batched:
    """Stands in for the array of one example's tensor: it has its shape and dtype, and all examples' numbers.

    Attributes:
        value: a Tensor outside of the level: all examples along its first dimension, or what is the same for all.
        mapped: whether it has that dimension.
        level: the `vmap` whose example this is.
    """

    __slots__ = ("dtype", "level", "mapped", "shape", "value")

    def __init__(self, value: Any, mapped: bool, level: Level) -> None:
        self.value = value
        self.mapped = mapped
        self.level = level
        self.shape = value._data.shape[1:] if mapped else value._data.shape
        self.dtype = value._data.dtype

    @property
    def ndim(self) -> int:
        """Number of dimensions of one example."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements of one example."""
        n = 1
        for length in self.shape:
            n *= length
        return n

    def __getattr__(self, name: str) -> Any:
        raise Unbatchable(f"{name} of one example of a vmap")


class _Levels(threading.local):
    def __init__(self) -> None:
        self.stack: list[Level] = []


levels = _Levels()


def innermost(arrays: list[Any]) -> Level | None:
    """The innermost level that one of ``arrays`` belongs to."""
    found: Level | None = None
    for array in arrays:
        if type(array) is Batched and (found is None or array.level.depth > found.depth):
            found = array.level
    return found


def whole(x: Any) -> Any:
    """The tensor with the numbers of all examples behind the one of an example; any other tensor as it is."""
    while type(x._data) is Batched:
        x = x._data.value
    return x


@contextmanager
def outside_innermost() -> Iterator[None]:
    """Inside the block the innermost level is not under way."""
    level = levels.stack.pop()
    try:
        yield
    finally:
        levels.stack.append(level)
