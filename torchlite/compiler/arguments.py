"""What a function is called with: tensors and Python values in tuples, lists, dicts and dataclasses."""

from __future__ import annotations

import dataclasses
import types
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torchlite._tensor import Tensor


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
    """What a container among arguments holds, in the container itself; None for what is none, or has other attributes, too."""
    attributes = getattr(x, "__dict__", None)
    if isinstance(x, (tuple, list, dict)):
        return None if attributes else x
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
    forward = getattr(function, "forward", function)
    code = getattr(forward, "__code__", None)
    names = () if code is None else code.co_varnames[: code.co_argcount]
    given = dict(zip(names[isinstance(forward, types.MethodType) :], args, strict=False)) | kwargs
    return {id(x): name for name, x in given.items() if isinstance(x, Tensor)}
