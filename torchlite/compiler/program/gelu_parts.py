"""GELU of some numbers of a row at once, which takes fewer operations than of one number in a loop (``gelu.h``)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

HEADER = "gelu.h"
PART = 64  # numbers

_VALUE = re.compile(r"(\w+) \* normal_cdf_\(\1\)")  # as expressions have them
_SLOPE = re.compile(r"gelu_slope_\((\w+)\)")


class Parted(NamedTuple):
    """A loop with GELU as two, with a call between them.

    Attributes:
        before: what the first computes, up to the argument, which it leaves in the array ``values``.
        call: what makes GELU and its slope of it, in ``values`` and ``slopes``.
        after: what the second computes in terms of these.
    """

    before: list[str]
    call: str
    after: list[str]


class Alone(NamedTuple):
    """The variables of a loop that are GELU of one number and its slope; None for what it does not compute."""

    value: str | None = None
    slope: str | None = None


_VARIABLE = re.compile(r"const float (\w+) = (?:\(0x1\.0+p\+0f\) \* )?(.+);")  # times 1 where a slope is a gradient


def gelu_alone(lines: Sequence[str], argument: str) -> Alone | None:
    """What a loop computes of a variable where that is GELU, its slope or both; None where it is anything else."""
    wanted = {f"{argument} * normal_cdf_({argument})": "value", f"gelu_slope_({argument})": "slope"}
    found: dict[str, str] = {}
    for line in lines:
        variable = _VARIABLE.fullmatch(line)
        if variable is None or variable[2] not in wanted:
            return None
        found[wanted.pop(variable[2])] = variable[1]
    return Alone(**found) if found else None


def gelu_by_parts(lines: Sequence[str]) -> Parted | None:
    """A loop as two; None where it does not compute GELU, or its slope, of one number."""
    uses = [i for i, line in enumerate(lines) if _VALUE.search(line) or _SLOPE.search(line)]
    of_values, of_slopes = ({name for line in lines for name in use.findall(line)} for use in (_VALUE, _SLOPE))
    if len(of_values | of_slopes) != 1:
        return None
    (argument,) = of_values | of_slopes
    values, slopes = ("values" if of_values else "NULL"), ("slopes" if of_slopes else "NULL")
    return Parted(
        [*lines[: uses[0]], f"values[i - first] = {argument};"],
        f"gelu_with_slopes(values, NULL, {values}, {slopes}, end - first);",
        [_SLOPE.sub("slopes[i - first]", _VALUE.sub("values[i - first]", line)) for line in lines],
    )
