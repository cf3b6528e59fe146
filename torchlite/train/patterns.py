"""Naming parameters by patterns, as ``optim.groups``, ``optim.no_decay``, ``freeze`` and ``init`` do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from torchlite import nn
from torchlite.nn import Parameter


def matches(pattern: str, name: str) -> bool:
    r"""Whether a parameter's name is what the regular expression says, or lies in a module whose name is.

    >>> matches("layer[34]", "layer3.0.weight"), matches("layer1", "layer10.weight"), matches(r".*\.bias", "fc.bias")
    (True, False, True)
    """
    return re.match(rf"(?:{pattern})(?:\.|\Z)", name) is not None


def matched(patterns: Iterable[str], name: str) -> bool:
    """Whether one of the patterns matches."""
    return any(matches(pattern, name) for pattern in patterns)


def without_decay(model: nn.Module, words: Iterable[str]) -> set[str]:
    """The names of the parameters that ``optim.no_decay`` means.

    ``bias`` are the parameters called so, ``norm`` those of normalizing layers; other words are patterns.
    """
    listed = set(words)
    patterns = listed - {"bias", "norm"}
    found = {name for name, _ in model.named_parameters() if matched(patterns, name)}
    if "bias" in listed:
        found |= {name for name, _ in model.named_parameters() if name.rpartition(".")[2] == "bias"}
    if "norm" in listed:
        found |= {name for name, _ in _of_norms(model)}
    return found


def _of_norms(model: nn.Module) -> Iterator[tuple[str, Parameter]]:
    for prefix, module in model.named_modules():
        if "Norm" in type(module).__name__:
            yield from module.named_parameters(prefix, recurse=False)


def unmatched(patterns: Iterable[str], names: Iterable[str]) -> list[str]:
    """The patterns that match none of the names."""
    listed = list(names)
    return [pattern for pattern in patterns if not any(matches(pattern, name) for name in listed)]
