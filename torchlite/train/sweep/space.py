"""The values of each trial: every combination of a grid, or numbers that follow from a seed."""

from __future__ import annotations

import itertools
import json
import math
import random
from typing import Any

from torchlite.train.config.search import Candidates, Sweep

Values = dict[str, Any]
_TRIES = 50


def choose(sweep: Sweep) -> list[Values]:
    """The values of all trials, no two alike, in the order in which they are to begin; none of those that Optuna proposes later.

    Those of a random trial depend on the seed, its number and the key alone, so that more trials are the same ones and
    others. Where there are fewer combinations than trials asked for, there are that many.
    """
    if sweep.method == "grid":
        choices = [candidates.choice or [] for candidates in sweep.params.values()]
        drawn = (dict(zip(sweep.params, values, strict=True)) for values in itertools.product(*choices))
        return list(_distinct(drawn).values())
    if sweep.method == "optuna":
        return []
    wanted = sweep.trials or 1
    found: dict[str, Values] = {}
    for index in range(wanted * _TRIES):
        values = {key: draw(candidates, uniform(sweep.seed, index, key)) for key, candidates in sweep.params.items()}
        found.setdefault(json.dumps(values), values)
        if len(found) == wanted:
            break
    return list(found.values())


def _distinct(drawn: Any) -> dict[str, Values]:
    found: dict[str, Values] = {}
    for values in drawn:
        found.setdefault(json.dumps(values), values)
    return found


def uniform(seed: int, index: int, key: str) -> float:
    """A number from 0 up to, not including, 1."""
    return random.Random(f"{seed}:{index}:{key}").random()


def draw(candidates: Candidates, u: float) -> Any:
    """The value at the fraction `u` of what is to be chosen from; numbers have six digits.

    >>> draw(Candidates(log_uniform=[1e-4, 1e-2]), 0.5), draw(Candidates(int_uniform=[1, 6]), 0.99)
    (0.001, 6)
    """
    if candidates.range is None:
        choice = candidates.choice or []
        return choice[int(u * len(choice))]
    kind, low, high = candidates.range
    if kind == "int_uniform":
        return int(low + math.floor(u * (high - low + 1)))
    if kind == "log_int_uniform":
        return min(int(low * math.exp(u * math.log((high + 1) / low))), int(high))
    return rounded(
        candidates, low * math.exp(u * math.log(high / low)) if kind == "log_uniform" else low + u * (high - low)
    )


def rounded(candidates: Candidates, value: float) -> Any:
    """A number of a range with six digits; whole ones as they are."""
    assert candidates.range is not None
    kind, low, high = candidates.range
    return int(value) if "int" in kind else min(max(float(f"{value:.6g}"), low), high)
