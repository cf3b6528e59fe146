"""A sweep trains each trial once, goes on after a kill, and comes to the same with any number of processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from torchlite.train.sweep.sweep import plan_sweep, run_sweep, summary

TEXT = """\
version: 1
name: small
data: {type: digits, batch_size: 256, split: {val: 0.1}, transforms: [{to_float: 16}]}
model: {layers: [Flatten, {Linear: 16}, ReLU, {Linear: 10}]}
optim: {adamw: {lr: 2e-3}}
train: {epochs: 2}
metrics: [accuracy]
sweep:
  method: asha
  trials: 4
  monitor: val/accuracy
  asha: {first: 1 epoch, factor: 2}
  params:
    optim.lr: {log_uniform: [1e-4, 1e-1]}
    model.layers.1.Linear: [8, 16]
"""


def planned(folder: Path, *overrides):
    (folder / "sweep.yaml").write_text(TEXT)
    return plan_sweep(folder / "sweep.yaml", overrides, folder / "runs")


def files(sweeping):
    """What equal sweeps share: metrics of every trial, and what is noted of it."""
    return [(one.id, (one.folder / "metrics.jsonl").read_bytes(), one.record.read_bytes()) for one in sweeping.trials]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    sweeping = planned(tmp_path_factory.mktemp("whole"))
    assert run_sweep(sweeping) == 0
    return sweeping


def test_the_leaderboard_puts_the_furthest_and_best_first(whole):
    trials = summary(whole)["trials"]
    assert [one["finished"] for one in trials] == [True, True, False, False]
    assert trials[0]["value"] >= trials[1]["value"]
    page = (whole.folder / "report.html").read_text()
    assert all(one.id in page for one in whole.trials)
    assert "<svg" in page


def test_the_same_trial_is_never_trained_twice(whole):
    told = []
    before = {path: path.stat().st_mtime_ns for path in whole.folder.glob("*/metrics.jsonl")}
    again = plan_sweep(whole.path, (), whole.folder.parents[1])
    assert run_sweep(again, progressed=told.append) == 0
    assert told == []
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_what_is_trained_decides_which_trial_it_is(whole):
    root = whole.folder.parents[1]
    assert [one.id for one in plan_sweep(whole.path, ["name=other"], root).trials] == [one.id for one in whole.trials]
    other = plan_sweep(whole.path, ["seed=5"], root)
    assert not {one.id for one in other.trials} & {one.id for one in whole.trials}


@pytest.mark.slow
def test_processes_come_to_the_same(whole, tmp_path):
    several = planned(tmp_path)
    assert run_sweep(several, 2) == 0
    assert files(several) == files(whole)


def test_after_a_kill_it_goes_on_to_the_same_end(whole, tmp_path):
    sweeping = planned(tmp_path)
    program = (
        "from pathlib import Path; from torchlite.train.sweep.sweep import plan_sweep, run_sweep; "
        f"run_sweep(plan_sweep(Path({str(sweeping.path)!r}), (), Path({str(tmp_path / 'runs')!r})))"
    )
    process = subprocess.Popen([sys.executable, "-c", program])
    deadline = time.monotonic() + 60
    while not any(one.record.is_file() for one in sweeping.trials) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert run_sweep(sweeping) == 0
    assert files(sweeping) == files(whole)


def test_a_trial_that_fails_is_last_and_does_not_stop_the_others(tmp_path):
    overrides = ["sweep.method=grid", "unset:sweep.trials", "unset:sweep.asha", "sweep.params={optim.lr: [1e30, 1e-3]}"]
    sweeping = planned(tmp_path, *overrides)
    assert run_sweep(sweeping) == 0
    good, bad = summary(sweeping)["trials"]
    assert (good["values"], good["exit_code"]) == ({"optim.lr": 1e-3}, 0)
    assert (bad["values"], bad["exit_code"]) == ({"optim.lr": 1e30}, 8)
    assert "not finite" in bad["problem"] or "became" in bad["problem"]
