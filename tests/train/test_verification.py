"""Recorded steps taken once more are the same bits; what differs is found."""

import json

import pytest
from small_runs import train

from torchlite.errors import CheckpointError
from torchlite.train.verification import verify


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return train(tmp_path_factory.mktemp("run"), "train.steps=12", "checkpoint.every=5 steps", "eval.every=4 steps")


@pytest.mark.parametrize(
    ("count", "begun", "rows", "state"), [(1, 10, 1, None), (2, 10, 3, 12), (7, 5, 9, 12), (100, 4, 10, 12)]
)
def test_a_run_is_repeated(directory, count, begun, rows, state):
    found = verify(directory, directory.read_config(), count)
    assert found.begun == begun
    assert found.state == state
    assert found.rows == rows


def test_a_number_that_differs_is_named(directory):
    content = directory.metrics.read_bytes()
    lines = content.splitlines(keepends=True)
    row = json.loads(lines[-2])
    row["loss"] += 1e-12
    directory.metrics.write_bytes(b"".join([*lines[:-2], json.dumps(row).encode() + b"\n", lines[-1]]))
    try:
        with pytest.raises(CheckpointError, match="step 12 is not repeated: loss was"):
            verify(directory, directory.read_config(), 2)
    finally:
        directory.metrics.write_bytes(content)


def test_another_arithmetic_is_found(directory):
    with pytest.raises(CheckpointError, match="is not repeated"):
        verify(directory, directory.read_config(["optim.lr=0.051"]), 2)
