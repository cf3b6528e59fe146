"""predict: splits, arrays, lines of JSON and tables, written as CSV, JSON and NPZ."""

import csv
import io
import json

import numpy as np
import pytest
from small_runs import write_config

from torchlite import datasets

QUICK = ("train.steps=12", "train.accumulate=1", "eval.every=6 steps", "checkpoint.every=6 steps")


@pytest.fixture
def run(torchlite, tmp_path):
    assert torchlite("train", write_config(tmp_path), *QUICK, "--quiet").code == 0
    return "runs/small/latest"


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_a_split_agrees_with_eval(torchlite, run):
    rows = rows_of(torchlite("predict", run, "test", "--proba").out)
    _, labels = datasets.load("digits", "test")
    hits = np.mean([int(row["prediction"]) == label for row, label in zip(rows, labels, strict=True)])
    report = json.loads(torchlite("eval", run, "--json").out)
    assert hits == pytest.approx(report["metrics"]["accuracy"])
    assert sum(float(rows[0][f"p({name})"]) for name in range(10)) == pytest.approx(1, abs=1e-4)


def test_files_and_standard_input_say_the_same(torchlite, run, tmp_path, monkeypatch):
    images, _ = datasets.load("digits", "test")
    np.save(tmp_path / "a.npy", images)
    np.savez(tmp_path / "b.npz", inputs=images, other=images[:3])
    whole = torchlite("predict", run, "test").out
    assert torchlite("predict", run, "a.npy").out == whole
    assert torchlite("predict", run, "b.npz").out == whole
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(json.dumps(one.tolist()) for one in images[:5])))
    assert rows_of(torchlite("predict", run, "-").out) == rows_of(whole)[:5]


def test_json_lines_and_npz(torchlite, run, tmp_path):
    records = [
        json.loads(line)
        for line in torchlite("predict", run, "test", "--format", "jsonl", "--topk", "3").out.splitlines()
    ]
    assert [record["index"] for record in records] == list(range(360))
    assert records[0]["top"][0][0] == records[0]["prediction"]
    assert len(records[0]["top"]) == 3
    assert torchlite("predict", run, "test", "--format", "npz", "-o", "out.npz").code == 0
    saved = np.load(tmp_path / "out.npz")
    assert saved["outputs"].shape == (360, 10)
    assert [str(i) for i in saved["prediction"]] == [record["prediction"] for record in records]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((2, 8, 8), np.uint8), "samples of shape"),
        (np.full((2, 1, 8, 8), 0.5), "not uint8"),
    ],
)  # fmt: skip
def test_arrays_of_another_kind(torchlite, run, tmp_path, content, message):
    np.save(tmp_path / "bad.npy", content)
    result = torchlite("predict", run, "bad.npy")
    assert result.code == 5
    assert message in result.err


def test_what_is_not_there(torchlite, run):
    result = torchlite("predict", run, "none.csv")
    assert result.code == 2
    assert "nor a split of that name" in result.err
    assert torchlite("predict", run, "test", "--format", "npz").code == 2


def test_a_table_from_init_to_predictions(torchlite, tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        f"{i},{x:.3f},{'red' if x > 0 else 'blue'},{'yes' if x > 0 else 'no'}"
        for i, x in enumerate(rng.standard_normal(120))
    ]
    (tmp_path / "table.csv").write_text("id,x,colour,answer\n" + "\n".join(rows) + "\n")
    made = torchlite("init", "--from-data", "table.csv")
    assert made.code == 0
    assert "'id' left out: it numbers the rows" in made.err
    assert torchlite("train", "table.yaml", "optim.lr=0.01", "--quiet").code == 0
    (tmp_path / "new.csv").write_text("colour,x\nred,1.5\nblue,-1.5\n")
    found = rows_of(torchlite("predict", "runs/table/latest", "new.csv").out)
    assert [row["prediction"] for row in found] == ["yes", "no"]
    again = torchlite("init", "--from-data", "table.csv", "--target", "x")
    assert again.code == 2
    assert "already there" in again.err
