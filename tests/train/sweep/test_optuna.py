"""Trials that Optuna proposes follow from the seed and the results alone."""

from pathlib import Path

import pytest

pytest.importorskip("optuna")
from torchlite.train.config.search import Candidates, Sweep
from torchlite.train.sweep.optuna_search import AHEAD, known_before, propose
from torchlite.train.sweep.sweep import plan_sweep, run_sweep

pytestmark = pytest.mark.filterwarnings("ignore::Warning:optuna")
SWEEP = Sweep(
    method="optuna",
    trials=24,
    params={
        "x": Candidates(uniform=[-2.0, 2.0]),
        "n": Candidates(int_uniform=[1, 8]),
        "kind": Candidates(choice=["a", {"b": 1}]),
    },
)


def cost(values):
    return (values["x"] - 0.5) ** 2 + abs(values["n"] - 3) + (values["kind"] == "a")


def searched(count):
    trials = []
    for index in range(count):
        results = {i: cost(trials[i]) for i in range(known_before(index))}
        trials.append(propose(SWEEP, trials, results, trials))
    return trials


def test_proposals_follow_the_results():
    trials = searched(24)
    assert all(-2 <= one["x"] <= 2 and 1 <= one["n"] <= 8 and one["kind"] in ("a", {"b": 1}) for one in trials)
    assert min(map(cost, trials[14:])) <= min(map(cost, trials[:10]))
    assert trials == searched(24)


def test_the_last_results_do_not_matter():
    trials = searched(14)
    early = {i: cost(trials[i]) for i in range(known_before(14))}
    later = early | dict.fromkeys(range(known_before(14), 14), 1000000.0)
    assert len(later) - len(early) == AHEAD - 1
    assert propose(SWEEP, trials, early, trials) == propose(SWEEP, trials, later, trials)


def test_nothing_is_proposed_twice():
    few = Sweep(method="optuna", trials=9, params={"x": Candidates(choice=[1, 2])})
    assert propose(few, [{"x": 1}], {}, [{"x": 1}]) == {"x": 2}
    assert propose(few, [{"x": 1}, {"x": 2}], {}, [{"x": 1}, {"x": 2}]) is None


TEXT = """\
version: 1
name: small
data: {type: digits, batch_size: 512, split: {val: 0.1}, transforms: [{to_float: 16}]}
model: {layers: [Flatten, {Linear: 10}]}
optim: {adamw: {lr: 2e-3}}
train: {steps: 2}
report: false
sweep: {method: optuna, trials: 6, params: {optim.lr: {log_uniform: [1e-4, 1e-1]}}}
"""


def planned(folder: Path, *overrides):
    (folder / "sweep.yaml").write_text(TEXT)
    return plan_sweep(folder / "sweep.yaml", overrides, folder / "runs")


def test_a_sweep_that_is_continued_is_the_same_one(tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = planned(tmp_path / "whole")
    assert len(whole.trials) == AHEAD
    assert run_sweep(whole) == 0
    assert len(whole.trials) == 6
    first = planned(tmp_path / "parts", "sweep.trials=5")
    assert run_sweep(first) == 0
    told = []
    second = planned(tmp_path / "parts")
    assert len(second.trials) == 6
    assert run_sweep(second, progressed=told.append) == 0
    assert len(told) == 1
    assert [one.id for one in second.trials] == [one.id for one in whole.trials]
