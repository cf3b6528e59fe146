"""``metrics.csv`` holds the rows of ``metrics.jsonl``."""

import csv
import json
from pathlib import Path

import pytest
import small_runs

from torchlite.train import run
from torchlite.train.metrics_log import MetricsLog
from torchlite.train.run_directory import RunDirectory


def check_equal(directory: RunDirectory) -> None:
    rows = [json.loads(line) for line in directory.metrics.read_text().splitlines()]
    with directory.metrics.with_suffix(".csv").open(newline="") as file:
        table = [{key: value for key, value in row.items() if value != ""} for row in csv.DictReader(file)]
    assert table == [{key: str(value) for key, value in row.items()} for row in rows]


def test_a_run_and_one_that_was_resumed(tmp_path: Path) -> None:
    directory = small_runs.train(tmp_path)
    check_equal(directory)
    whole = directory.metrics.with_suffix(".csv").read_bytes()
    assert whole.startswith(b"step,epoch,loss,lr,train/loss,val/loss,val/accuracy\n")
    resumed = small_runs.rewound(directory, 15, tmp_path / "resumed")
    run.resume(resumed, small_runs.Quiet())
    assert resumed.metrics.with_suffix(".csv").read_bytes() == whole


@pytest.mark.parametrize("name", ["val/each/a, b", 'val/each/"a"', "val/each/ü"])
def test_new_columns_and_names_that_need_quotes(tmp_path: Path, name: str) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.append({"step": 1, "loss": 0.5})
    log.sync()
    log.append({"step": 1, name: float("nan")})
    log.sync()
    log.append({"step": 2, "loss": 0.25})
    log.close()
    check_equal(RunDirectory(tmp_path))
