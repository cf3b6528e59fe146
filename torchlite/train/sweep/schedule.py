"""Which trial trains next, and how far: a pure function of what is known, so that any number of workers, and a sweep that
was interrupted, come to the same result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Job(NamedTuple):
    """Training a trial as far as a rung: 0 is the first, and the last is the end of the training."""

    trial: int
    rung: int


def all_at_once(trials: int, results: Mapping[Job, float]) -> list[Job]:
    """Every trial trains to its end."""
    return [job for trial in range(trials) if (job := Job(trial, 0)) not in results]


def successive_halving(trials: int, rungs: int, factor: int, results: Mapping[Job, float]) -> list[Job]:
    """Asynchronous successive halving (Li et al. 2020, algorithm 2): what may train now, the most wanted first.

    Of the n trials whose result at a rung is known, the best ``n // factor`` go on to the next; where none can, a new trial
    begins. The algorithm is followed as with one worker, in an order of its own and not in that in which trials happen to
    end. What it asks for comes first; behind it stand trials that have not begun, which it asks for sooner or later.

    Args:
        trials: how many there are.
        rungs: how many rungs, the last of which is the end.
        factor: one in so many goes on.
        results: what is known; the smallest is best, and infinity never goes on.
    """
    reached: list[dict[int, float]] = [{} for _ in range(rungs)]
    begun = 0
    while True:
        job = _promoted(reached, factor)
        if job is None and begun < trials:
            job, begun = Job(begun, 0), begun + 1
        if job is None:
            return []
        if job not in results:
            break
        reached[job.rung][job.trial] = results[job]
    waiting = (Job(trial, 0) for trial in range(begun, trials))
    return [job, *(one for one in waiting if one not in results)]


def _promoted(reached: list[dict[int, float]], factor: int) -> Job | None:
    """The best trial that may go on from the highest rung from which one may."""
    for rung in range(len(reached) - 2, -1, -1):
        here = reached[rung]
        best = sorted((value, trial) for trial, value in here.items() if value != float("inf"))[: len(here) // factor]
        for _, trial in best:
            if trial not in reached[rung + 1]:
                return Job(trial, rung + 1)
    return None
