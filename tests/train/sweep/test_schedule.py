"""Successive halving promotes what the algorithm says, whatever the order in which trials end."""

import math
import random

import pytest

from torchlite.train.sweep.schedule import Job, all_at_once, successive_halving


def everything(values, rungs, factor, *, parallel, seed=0):
    """All jobs that run, with `parallel` workers that end in an arbitrary order."""
    order = random.Random(seed)
    results, running, ran = {}, set(), []
    while True:
        for job in successive_halving(len(values), rungs, factor, results):
            if len(running) < parallel and job not in running:
                running.add(job)
                ran.append(job)
        if not running:
            return ran, results
        job = order.choice(sorted(running))
        running.remove(job)
        results[job] = values[job.trial]


def test_the_algorithm_with_one_worker_step_by_step():
    ran, _ = everything([5.0, 3.0, 4.0, 1.0, 2.0], 3, 2, parallel=1)
    assert ran == [
        Job(0, 0),
        Job(1, 0),
        Job(1, 1),  # the better of two
        Job(2, 0),
        Job(3, 0),
        Job(3, 1),  # of four the best two are 3 and 1, and 1 has gone on already
        Job(3, 2),  # the better of two at the next rung
        Job(4, 0),
        Job(4, 1),  # of five the best two are 3 and 4
    ]


@pytest.mark.parametrize("parallel", [2, 3, 8])
def test_any_number_of_workers_trains_the_same_jobs(parallel):
    values = [random.Random(i).random() for i in range(27)]
    alone, known = everything(values, 4, 3, parallel=1)
    for seed in range(5):
        ran, results = everything(values, 4, 3, parallel=parallel, seed=seed)
        assert sorted(ran) == sorted(alone)
        assert results == known


def test_an_interrupted_search_goes_on_to_the_same_end():
    values = [random.Random(i).random() for i in range(12)]
    ran, results = everything(values, 3, 2, parallel=1)
    for cut in range(len(ran)):
        part = {job: results[job] for job in ran[:cut]}
        assert successive_halving(12, 3, 2, part)[0] == ran[cut]


def test_what_failed_never_goes_on():
    ran, _ = everything([math.inf] * 6, 2, 2, parallel=1)
    assert {job.rung for job in ran} == {0}


def test_without_rungs_every_trial_trains_once():
    assert all_at_once(3, {Job(1, 0): 2.0}) == [Job(0, 0), Job(2, 0)]
