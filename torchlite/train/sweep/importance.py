"""How much of the differences between trials each key explains."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from torchlite.train.sweep.space import Values

_GROUPS = 4


def importances(trials: Sequence[Values], results: Sequence[float]) -> dict[str, float]:
    """The share of the variance of the results that each key explains alone, from 0 to 1.

    ε² = 1 - (within / (n - k)) / (total / (n - 1)), with the sums of squares within the k groups of equal values of a key
    and in total (Kelley 1935): what groups would explain by chance is taken off. Numbers that are nearly all different are
    grouped by rank. Trials without a finite result are left out; with too few of them everything is 0.
    """
    kept = [(values, y) for values, y in zip(trials, results, strict=True) if math.isfinite(y)]
    found = {}
    for key in trials[0] if trials else ():
        found[key] = _explained(_grouped([values[key] for values, _ in kept]), [y for _, y in kept])
    return found


def _explained(groups: Sequence[Any], results: Sequence[float]) -> float:
    members = defaultdict(list)
    for group, y in zip(groups, results, strict=True):
        members[group].append(y)
    n, k = len(results), len(members)
    if k < 2 or n <= k or (total := _squares(results)) == 0:
        return 0.0
    within = sum(map(_squares, members.values()))
    return max(0.0, 1 - (within / (n - k)) / (total / (n - 1)))


def _squares(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values)


def _grouped(values: Sequence[Any]) -> list[Any]:
    names = [json.dumps(value) for value in values]
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
    if not numbers or len(set(names)) <= _GROUPS:
        return names
    order = sorted(values)
    return [_GROUPS * order.index(value) // len(values) for value in values]
