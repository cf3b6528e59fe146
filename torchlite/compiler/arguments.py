"""What a function is called with: tensors and Python values in tuples, lists, dicts and dataclasses."""

from __future__ import annotations

import dataclasses
import types
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import is_
from typing import Any

from torchlite._tensor import Tensor
from torchlite.compiler.noted import NUMBERS, shows_what_it_holds

_VALUES = (*NUMBERS, str)
_FEW = 64
"""In containers of more, numbers and texts are not looked at one by one."""


def flatten(x: Any, leaves: list[Any]) -> Any:
    """The structure of arguments; what they hold goes to ``leaves`` in order."""
    kind = type(x)
    if kind is not Tensor:
        if kind is tuple or kind is list:
            return (kind, *[flatten(part, leaves) for part in x])
        held = content(x)
        if isinstance(held, Mapping):
            made_by = x.default_factory if isinstance(x, defaultdict) else None
            return (kind, made_by, *[(key, flatten(value, leaves)) for key, value in held.items()])
        if held is not None:
            return (kind, *[flatten(part, leaves) for part in held])
    leaves.append(x)
    return None


def content(x: Any) -> Mapping[Any, Any] | Sequence[Any] | None:
    """What a container among arguments holds, in the container itself; None for what is none, or has attributes or methods of its own."""
    attributes = getattr(x, "__dict__", None)
    if isinstance(x, (tuple, list, dict)):
        return None if attributes or not shows_what_it_holds(x) else x
    if dataclasses.is_dataclass(x) and attributes and not isinstance(x, type):
        return attributes if [*attributes] == [field.name for field in dataclasses.fields(x)] else None
    return None


def containers(x: Any) -> Iterator[tuple[Any, Any]]:
    """Every container among arguments, with what it holds."""
    held = content(x)
    if held is not None:
        yield x, held
        for part in held.values() if isinstance(held, Mapping) else held:
            yield from containers(part)


def names_of_arguments(function: Any, args: Any, kwargs: Any) -> dict[int, str]:
    """The names of the parameters to which tensors are given."""
    given = dict(zip(_parameters(function), args, strict=False)) | kwargs
    return {id(x): name for name, x in given.items() if isinstance(x, Tensor)}


def names_of_values(function: Any, args: Any, kwargs: Any, is_around: Callable[[Any], bool]) -> dict[int, str]:
    """For each Python number and text among arguments, by its index among the leaves, a name of its own.

    Args:
        function, args, kwargs: what is called, and with what.
        is_around: whether an object is also around the function; what such a container holds is left out.
    """
    parameters = _parameters(function)
    names: dict[int, str] = {}
    leaves: list[Any] = []

    def name(x: Any, of: str, *, counts: bool) -> None:
        held = content(x)
        if held is not None:
            counts = counts and len(held) <= _FEW and (isinstance(held, tuple) or not is_around(x))
            for key, part in held.items() if isinstance(held, Mapping) else enumerate(held):
                name(part, f"{of}_{key}", counts=counts)
            return
        if counts and type(x) in _VALUES:
            names[len(leaves)] = of if of not in names.values() else f"{of}_{len(leaves)}"
        leaves.append(x)

    for i, x in enumerate(args):
        name(x, parameters[i] if i < len(parameters) else f"argument{i}", counts=True)
    for key, x in kwargs.items():
        name(x, key, counts=True)
    return names


@contextmanager
def exchanged(args: tuple[Any, ...], kwargs: dict[str, Any], others: Mapping[int, Any]) -> Iterator[tuple[Any, Any]]:
    """Arguments with others in the places of some that `names_of_values` names, by their index among the leaves.

    They are exchanged inside of lists, dicts and dataclasses themselves, until the end of the block.
    """
    count = 0
    exchanges: list[tuple[Any, Any, Any, Any]] = []

    def visited(x: Any) -> Any:
        nonlocal count
        held = content(x)
        if held is None:
            count += 1
            return others.get(count - 1, x)
        if isinstance(held, tuple):
            parts = [visited(part) for part in held]
            if all(map(is_, parts, held)):
                return x
            return x._make(parts) if hasattr(x, "_fields") else tuple(parts)
        for key, part in [*(held.items() if isinstance(held, Mapping) else enumerate(held))]:
            other = visited(part)
            if other is not part:
                exchanges.append((held, key, part, other))
                held[key] = other  # type: ignore[index]
        return x

    try:
        yield (tuple(map(visited, args)), {key: visited(x) for key, x in kwargs.items()}) if others else (args, kwargs)
    finally:
        for held, key, part, other in reversed(exchanges):
            if (key in held if isinstance(held, Mapping) else key < len(held)) and held[key] is other:
                held[key] = part


def _parameters(function: Any) -> tuple[str, ...]:
    forward = getattr(function, "forward", function)
    code = getattr(forward, "__code__", None)
    names: tuple[str, ...] = () if code is None else code.co_varnames[: code.co_argcount]
    return names[isinstance(forward, types.MethodType) :]
