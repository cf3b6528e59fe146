"""sweep."""

import io
import json
from pathlib import Path

import pytest
from small_runs import write_config

SWEEP = """
sweep:
  method: grid
  params:
    optim.lr: [0.05, 0.001]
    model.layers.4.Dropout: [0.1, 0.2]
"""
QUICK = ("train.steps=6", "train.accumulate=1", "eval.every=3 steps", "checkpoint.every=3 steps", "report=false")


@pytest.fixture
def config(tmp_path):
    path = write_config(tmp_path)
    path.write_text(path.read_text() + SWEEP)
    return path


def test_trials_are_ranked_and_none_trains_twice(torchlite, config):
    listed = torchlite("sweep", config, *QUICK, "--dry-run").out.splitlines()
    assert len(listed) == 4
    first = torchlite("sweep", config, *QUICK, "--json")
    assert first.code == 0, first.err
    trials = json.loads(first.out)["trials"]
    assert {one["id"] for one in trials} == {line.split()[0] for line in listed}
    assert first.err.count("step 6") == 4
    again = torchlite("sweep", config, *QUICK)
    assert again.code == 0
    assert again.err == ""
    assert [line.split()[1] for line in again.out.splitlines()[1:5]] == [one["id"] for one in trials]


def test_a_run_of_a_configuration_with_a_sweep_goes_on(torchlite, config):
    assert torchlite("train", config, *QUICK, "--quiet").code == 0
    resumed = torchlite("resume", "runs/small/latest", "train.steps=9", "--quiet")
    assert resumed.code == 0, resumed.err


def test_without_a_section_it_says_what_one_looks_like(torchlite, tmp_path):
    result = torchlite("sweep", write_config(tmp_path))
    assert result.code == 2
    assert "has no section 'sweep'; e.g. sweep:" in result.err


def test_a_sweep_that_must_not_go_on(torchlite, config):
    assert torchlite("sweep", config, *QUICK, "--resume", "never", "optim.lr=0.1").code == 0
    refused = torchlite("sweep", config, *QUICK, "--resume", "never", "optim.lr=0.1")
    assert refused.code == 2
    assert "--resume auto goes on with them" in refused.err


def test_the_board_shows_what_trains(torchlite, config):
    from rich.console import Console

    from torchlite.cli.sweep import Board
    from torchlite.train.sweep.sweep import plan_sweep

    sweeping = plan_sweep(config, QUICK, Path("runs"))
    assert torchlite("sweep", config, *QUICK).code == 0
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(Board(sweeping).picture([sweeping.trials[1]], 6))
    lines = console.export_text().splitlines()
    assert lines[0].strip() == "4 of 4 trials"
    assert lines[1].split() == ["trial", "val/accuracy", "step", "values"]
    assert len(lines) == 4
    console.print(Board(sweeping).picture([sweeping.trials[1]], 40))
    shown = console.export_text()
    assert shown.count(" trains ") == 1 and shown.count(" done ") == 3


def test_threads_are_shared():
    from torchlite.backends.threads import get_num_threads
    from torchlite.train.sweep.workers import threads_each

    assert threads_each(1) == get_num_threads()
    assert threads_each(1000) == 1
