"""Values that Optuna proposes from the results of earlier trials."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from torchlite.extras import extra
from torchlite.train.config.search import Candidates, Sweep
from torchlite.train.sweep.space import Values, rounded

AHEAD = 4
"""A proposal sees the results of all trials but the last few, so that as many can be trained at once."""
_TRIES = 50


def known_before(index: int) -> int:
    """How many trials must have ended before one is proposed."""
    return max(0, index - AHEAD + 1)


def propose(
    sweep: Sweep, trials: Sequence[Values], results: Mapping[int, float], taken: Sequence[Values]
) -> Values | None:
    """The values of the next trial; None where all that is proposed has been tried.

    They follow from the seed, the values of all trials before it, and the results of all but the last `AHEAD` - 1 of these: a
    study is made anew of what is known. So a sweep that is continued, or trained by any number of processes, is the same one.

    Args:
        sweep: what is searched.
        trials: the values of the trials so far.
        results: by trial, the smallest being best; infinity where one has failed.
        taken: values that are not to be proposed.

    Raises:
        DeviceError: where Optuna is not installed.
    """
    index = len(trials)
    known = {json.dumps(values) for values in taken}
    for attempt in range(_TRIES):
        study, distributions = _study(sweep, trials, results, seed=f"{sweep.seed}:{index}:{attempt}")
        values = _values(sweep, study.ask(distributions).params)
        if json.dumps(values) not in known:
            return values
    return None


def _study(
    sweep: Sweep, trials: Sequence[Values], results: Mapping[int, float], seed: str
) -> tuple[Any, dict[str, Any]]:
    """A study that knows the trials: those that have ended, and those that have not as running."""
    optuna = extra("optuna", "sweep.method: optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    distributions = {key: _distribution(optuna, candidates) for key, candidates in sweep.params.items()}
    sampler = optuna.samplers.TPESampler(seed=_number(seed), constant_liar=True)
    study = optuna.create_study(direction="minimize", sampler=sampler)
    states, ended = optuna.trial.TrialState, known_before(len(trials))
    for number, values in enumerate(trials):
        value = results.get(number, math.inf) if number < ended else None
        state = states.RUNNING if value is None else states.COMPLETE if math.isfinite(value) else states.FAIL
        study.add_trial(
            optuna.trial.create_trial(
                params=_params(sweep, values),
                distributions=distributions,
                state=state,
                value=value if state == states.COMPLETE else None,
            )
        )
    return study, distributions


def _number(text: str) -> int:
    """A seed of 32 bits from a text."""
    import zlib

    return zlib.crc32(text.encode())


def _distribution(optuna: Any, candidates: Candidates) -> Any:
    if candidates.range is None:
        return optuna.distributions.CategoricalDistribution([json.dumps(one) for one in candidates.choice or []])
    kind, low, high = candidates.range
    log = kind.startswith("log")
    if "int" in kind:
        return optuna.distributions.IntDistribution(int(low), int(high), log=log)
    return optuna.distributions.FloatDistribution(low, high, log=log)


def _params(sweep: Sweep, values: Values) -> dict[str, Any]:
    """Values as Optuna has them: choices as text."""
    return {key: json.dumps(value) if sweep.params[key].range is None else value for key, value in values.items()}


def _values(sweep: Sweep, params: Mapping[str, Any]) -> Values:
    return {
        key: json.loads(params[key]) if candidates.range is None else rounded(candidates, params[key])
        for key, candidates in sweep.params.items()
    }
