"""A checked configuration as YAML, with origins, and two of them compared."""

from collections.abc import Iterator, Mapping, Set
from typing import Any

import yaml

from torchlite.train.config.schema import Config

_DEFAULT = "default"


def as_yaml(config: Config, *, defaults: bool = True, origins: bool = False) -> str:
    """The configuration as a file that trains the same; `defaults` says whether values that nobody wrote stand in it.

    It has no sweep (see `Config.resolved`). With `origins` every value has its place as a comment.
    """
    value, places = config.resolved(), config.origins
    if not defaults:
        value = _written(
            value, "", {part for path, place in places.items() if place != _DEFAULT for part in _around(path)}
        )
    return annotated(value, places if origins else {})


def annotated(value: Any, places: Mapping[str, str]) -> str:
    """Nested maps and lists as YAML, with the place of each value as a comment where it is known."""
    lines = [(text, places.get(path)) for text, path in _lines(value, "", "")]
    width = max((len(text) for text, place in lines if place is not None), default=0)
    return "".join(f"{text.ljust(width)}  # {place}\n" if place else f"{text}\n" for text, place in lines)


def differences(old: Config, new: Config, *, origins: bool = False) -> list[str]:
    """What differs between two configurations: ``key: value`` with ``-`` where it is `old`'s and ``+`` where `new`'s."""
    before, after = flat(old.resolved()), flat(new.resolved())
    lines = []
    for path in sorted({*before, *after}):
        if before.get(path, ...) == after.get(path, ...):
            continue
        for sign, config, values in (("-", old, before), ("+", new, after)):
            if path in values:
                place = f"  # {config.origins.get(path, _DEFAULT)}" if origins else ""
                lines.append(f"{sign} {path}: {_scalar(values[path])}{place}")
    return lines


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """The leaves of nested maps and lists by their paths, such as ``model.layers.0``."""
    if isinstance(value, (dict, list)) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {key: leaf for part, item in items for key, leaf in flat(item, f"{path}.{part}".lstrip(".")).items()}
    return {path: value}


def _written(value: Any, path: str, places: Set[str]) -> Any:
    """The parts of a value that were written somewhere; `places` are the paths of these and of all around them."""
    if isinstance(value, dict):
        inner = {key: f"{path}.{key}".lstrip(".") for key in value}
        return {key: _written(item, inner[key], places) for key, item in value.items() if inner[key] in places}
    if isinstance(value, list):
        return [_written(item, f"{path}.{index}", places) for index, item in enumerate(value)]
    return value


def _around(path: str) -> Iterator[str]:
    while path:
        yield path
        path = path.rpartition(".")[0]


def _lines(value: Any, indent: str, path: str) -> Iterator[tuple[str, str]]:
    """The lines of a block, each with the dotted path of the value in it."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        here = f"{path}.{key}".lstrip(".")
        head = f"{indent}{_scalar(key)}:" if isinstance(value, dict) else f"{indent}-"
        if isinstance(item, dict) and item and not isinstance(value, dict):
            (first, first_path), *rest = _lines(item, indent + "  ", here)
            yield f"{head} {first.lstrip()}", first_path
            yield from rest
        elif isinstance(item, (dict, list)) and item and not _is_short(item):
            yield head, ""
            yield from _lines(item, indent + "  ", here)
        else:
            yield f"{head} {_scalar(item)}", here if not isinstance(item, list) or not item else f"{here}.0"


def _is_short(item: Any) -> bool:
    return isinstance(item, list) and all(not isinstance(part, (dict, list)) for part in item) and len(str(item)) < 80


def _scalar(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10**6)
    return text.removesuffix("\n").removesuffix("\n...")
