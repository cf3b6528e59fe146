"""Lengths in minutes: when the training ends, is evaluated and saved, also over interruptions."""

import itertools
import types

import pytest
from small_runs import CONFIG, Quiet, train, write_config

from torchlite.train import run
from torchlite.train.config.load import require_config
from torchlite.train.config.parts import Duration, Period, Time
from torchlite.train.config.validate import Options, validate
from torchlite.train.drift import drift
from torchlite.train.metrics_log import read_metrics
from torchlite.train.reproduction import reproduce
from torchlite.train.verification import verify

TIMED = ("train.accumulate=1", "schedule={type: constant}", "eval.every=4 s", "checkpoint={every: 3 s, keep: {last: 100}}",
         "early_stop=null", "train.time=10 s")  # fmt: skip


@pytest.fixture
def ticking(monkeypatch):
    """Every look at the clock finds it a second later."""
    seconds = itertools.count()
    monkeypatch.setattr("torchlite.train.pacing.time", types.SimpleNamespace(monotonic=lambda: float(next(seconds))))


def test_lengths_are_read():
    assert Period.parse("30 min") == Time(1800.0)
    assert Period.parse("1.5h") == Time(5400.0)
    assert Period.parse("90 s").times(2) == Time(180.0)
    assert Period.parse("2 epochs") == Duration(2, "epochs")
    assert [str(Time(seconds)) for seconds in (90, 1800, 5400, 7200, 0.5)] == [
        "90 s",
        "30 min",
        "90 min",
        "2 h",
        "0.5 s",
    ]


def test_mistakes_are_found(tmp_path):
    config = write_config(
        tmp_path, CONFIG.replace("warmup: 5 steps", "warmup: 5 min").replace("{every: 10 steps,", "{every: 10,")
    )
    found = {one.key: one for one in validate([str(config)], ["train.time=3 steps"], Options("schema")).diagnostics}
    assert {"schedule.warmup", "eval.every", "train.time"} <= set(found)
    assert all(found[key].code == "TL209" for key in ("schedule.warmup", "eval.every", "train.time"))
    config = write_config(tmp_path)
    late = validate([str(config)], ["train.time=5 min", "eval.every=10 min"], Options("schema")).diagnostics
    assert ("TL411", "eval.every") in {(one.code, one.key) for one in late}


def steps_of(directory, key):
    return [row["step"] for row in read_metrics(directory.metrics) if key in row]


@pytest.mark.usefixtures("ticking")
def test_it_ends_is_evaluated_and_saved_in_time(tmp_path):
    directory = train(tmp_path, *TIMED)
    assert steps_of(directory, "lr")[-1] == 10
    assert steps_of(directory, "val/loss") == [4, 8, 10]
    assert directory.store().steps() == [3, 4, 7, 8, 10]  # the best ones, too
    assert directory.status()["reason"] == "time is up"
    assert verify(directory, directory.read_config(), 4).rows == 5
    _, comparison = reproduce(directory, Quiet())
    assert comparison.identical
    assert comparison.step == 10


@pytest.mark.usefixtures("ticking")
def test_time_goes_on_where_it_was(tmp_path):
    whole = train(tmp_path, *TIMED)
    part = train(tmp_path, *TIMED, "name=other", "checkpoint.every=1 steps", stop_at=None)
    (tmp_path / "cut").mkdir()
    cut = run.train(
        require_config(write_config(tmp_path / "cut"), TIMED),
        Quiet(),
        root=tmp_path / "cut",
        pause=Duration(5, "steps"),
    )
    run.resume(cut.run, Quiet())
    assert steps_of(cut.run, "val/loss") == steps_of(whole, "val/loss")
    assert cut.run.store().load("last").state["clock"]["spent"] == 10.0
    assert run.resume(cut.run, Quiet()).progress.step == 10
    assert run.resume(part, Quiet(), overrides=["train.time=12 s"]).progress.step == 12


def test_more_time_is_an_exact_change_and_less_state_is_kept_without(tmp_path):
    config = write_config(tmp_path)
    (changed,) = drift(require_config(config, ["train.time=1 h"]), require_config(config, ["train.time=2 h"]))
    assert changed.effect == "exact"
    assert "clock" not in train(tmp_path, "train.steps=1", "schedule={type: constant}").store().load("last").state
