"""What a function is called with: tensors and Python values in tuples, lists, dicts and dataclasses."""

from __future__ import annotations

import dataclasses
import types
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torchlite._tensor import Tensor
from torchlite.compiler.noted import NUMBERS, shows_what_it_holds


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


def names_of_numbers(function: Any, args: Any, kwargs: Any) -> dict[int, str]:
    """For each Python number that is an argument itself or in a tuple, by its index among the leaves, a name of its own."""
    parameters = _parameters(function)
    names: dict[int, str] = {}
    leaves: list[Any] = []

    def name(x: Any, of: str) -> None:
        if type(x) is tuple:
            for i, part in enumerate(x):
                name(part, f"{of}_{i}")
        else:
            if type(x) in NUMBERS:
                names[len(leaves)] = of if of not in names.values() else f"{of}_{len(leaves)}"
            flatten(x, leaves)

    for i, x in enumerate(args):
        name(x, parameters[i] if i < len(parameters) else f"argument{i}")
    for key, x in kwargs.items():
        name(x, key)
    return names


def with_numbers(args: tuple[Any, ...], kwargs: dict[str, Any], numbers: Mapping[int, Any]) -> tuple[Any, Any]:
    """Arguments with others in the places of those that `names_of_numbers` names, by their index among the leaves."""
    leaves: list[Any] = []

    def exchanged(x: Any) -> Any:
        if type(x) is tuple:
            return tuple(map(exchanged, x))
        i = len(leaves)
        flatten(x, leaves)
        return numbers.get(i, x)

    return tuple(map(exchanged, args)), {key: exchanged(x) for key, x in kwargs.items()}


def _parameters(function: Any) -> tuple[str, ...]:
    forward = getattr(function, "forward", function)
    code = getattr(forward, "__code__", None)
    names: tuple[str, ...] = () if code is None else code.co_varnames[: code.co_argcount]
    return names[isinstance(forward, types.MethodType) :]
