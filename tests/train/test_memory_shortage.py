"""A batch that does not fit into memory, and a disk that is full."""

import errno

import numpy as np
import pytest
from small_runs import Quiet, final_state, losses, rewound, train, write_config

from torchlite.errors import CheckpointError, OutOfMemoryError
from torchlite.train import run, run_directory
from torchlite.train.checkpoint import CheckpointStore
from torchlite.train.config.load import require_config
from torchlite.train.metrics_log import MetricsLog, read_metrics
from torchlite.train.updating import Update

PLAIN = ("model.layers=[Flatten,{Linear: 10}]", "train.steps=8", "train.accumulate=1", "data.batch_size=64")


@pytest.fixture
def small_memory(monkeypatch):
    """No batch of more than 20 samples fits; the forward pass has begun by the time that this is found."""
    whole = Update._loss

    def limited(self, inputs, targets):
        loss = whole(self, inputs, targets)
        if len(targets) > 20:
            raise MemoryError("Unable to allocate 20 samples")
        return loss

    monkeypatch.setattr(Update, "_loss", limited)


def test_it_ends_with_advice(small_memory, tmp_path):
    with pytest.raises(OutOfMemoryError, match=r"data\.batch_size=32 train\.accumulate=2") as caught:
        train(tmp_path, *PLAIN)
    assert caught.value.exit_code == 7


@pytest.mark.parametrize("compiled", ["false", "true"])
def test_batches_in_parts_are_whole_ones(compiled, small_memory, monkeypatch, tmp_path):
    (tmp_path / "a").mkdir()
    divided = train(tmp_path / "a", *PLAIN, "train.on_oom=accumulate", f"train.compile={compiled}")
    assert divided.store().load("last").state["pieces"] == 4
    assert divided.store().load("last").state["compiling"].get("gave_up") is None
    part = rewound(divided, 3, tmp_path / "part")
    run.resume(part, Quiet(), overrides=["checkpoint.every=1000 steps"])
    assert final_state(part) == final_state(divided)
    monkeypatch.undo()
    (tmp_path / "b").mkdir()
    np.testing.assert_allclose(losses(divided), losses(train(tmp_path / "b", *PLAIN)), rtol=1e-5)


def test_a_failed_attempt_leaves_no_random_numbers_and_statistics_behind(tmp_path, monkeypatch):
    whole = train(tmp_path, "train.steps=6")
    failures = iter([True, False, False] + [False] * 100)
    real = Update._loss

    def failing(self, inputs, targets):
        loss = real(self, inputs, targets)
        if next(failures):
            self.pieces = 0  # which doubles to none: the same attempt again
            raise MemoryError
        return loss

    monkeypatch.setattr(Update, "_loss", failing)
    monkeypatch.setattr("torchlite.train.updating.cut", lambda batch, pieces: [batch])
    (tmp_path / "again").mkdir()
    again = train(tmp_path / "again", "train.steps=6", "train.on_oom=accumulate")
    assert (losses(again) == losses(whole)).all()


class Full:
    """A disk on which there is no room for a while."""

    def __init__(self, file):
        self.file, self.full = file, True

    def write(self, content):
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.file.write(content[:100])  # as much as fits

    def __getattr__(self, name):
        return getattr(self.file, name)


def test_no_row_is_lost_where_the_disk_is_full_for_a_while(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    disk = log._file = Full(log._file)
    rows = [{"step": step, "loss": 1 / step} for step in range(1, 1000)]
    for row in rows:
        log.append(row)
    assert "No space left" in log.warning
    with pytest.raises(CheckpointError, match="Make room, then resume"):
        log.sync()
    disk.full = False
    assert log.sync() == log.path.stat().st_size
    log.close()
    assert read_metrics(log.path) == rows


def test_a_full_disk_ends_no_training_and_is_told_once(tmp_path, monkeypatch):
    full = OSError(errno.ENOSPC, "No space left on device")

    def refuse(*_):
        raise full

    config = require_config(write_config(tmp_path), ["train.steps=6", "schedule={type: constant}", "callbacks=[]"])
    directory = run_directory.create(config, tmp_path / "runs", [], {})
    with monkeypatch.context() as patch:
        patch.setattr("torchlite.train.run_directory.write_file", refuse)
        patch.setattr("torchlite.train.metrics_csv.write_file", refuse)
        patch.setattr("torchlite.train.report.contents.write_file", refuse)
        patch.setattr("torchlite.train.run_directory.create", lambda *_: directory)
        logging = Quiet()
        logging.stepped = refuse
        patch.setattr("torchlite.train.run.RunLog", lambda _run: logging)
        outcome = run.train(config, Quiet(), root=tmp_path / "runs")
    assert outcome.completed
    assert outcome.run.store().latest_good().step == 6
    assert len(read_metrics(directory.metrics)) == 7
    assert len(outcome.warnings) == 4
    assert all("No space left on device" in warning for warning in outcome.warnings)


def test_a_checkpoint_that_finds_the_disk_full_leaves_the_earlier_ones(tmp_path, monkeypatch):
    saved = CheckpointStore.save

    def full_later(self, step, *arguments, **options):
        if step == 4:
            raise CheckpointError("the checkpoint of step 4 could not be saved: No space left on device")
        return saved(self, step, *arguments, **options)

    monkeypatch.setattr(CheckpointStore, "save", full_later)
    with pytest.raises(CheckpointError, match="No space left"):
        train(tmp_path, "train.steps=6", "train.accumulate=1", "schedule={type: constant}", "eval.every=100 steps")
    (path,) = (tmp_path / "runs" / "small").iterdir()
    directory = run_directory.RunDirectory(path)
    assert directory.status()["exit_code"] == 6
    assert directory.store().latest_good().step == 3
