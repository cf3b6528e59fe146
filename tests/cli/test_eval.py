"""eval: other metrics, classes, slices, intervals and what may be required of them."""

import json

import numpy as np
import pytest
from small_runs import write_config

from torchlite.train.run_directory import find_run

QUICK = ("train.steps=12", "train.accumulate=1", "eval.every=6 steps", "checkpoint.every=6 steps")
TABLE = """\
version: 1
name: table
data:
  type: csv
  train: rows.csv
  inputs: {x: {kind: number}, y: {kind: number}}
  target: {column: yes, kind: binary, classes: ["0", "1"]}
  split: {val: 0.5}
  batch_size: 16
model: {layers: [{Linear: 1}]}
loss: bce_with_logits
optim: {type: sgd, lr: 0.5}
train: {steps: 20}
"""


@pytest.fixture
def digits(torchlite, tmp_path):
    assert torchlite("train", write_config(tmp_path), *QUICK, "--quiet").code == 0
    return "runs/small/latest"


@pytest.fixture
def table(torchlite, tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 200))
    lines = [f"{a},{b},{int(a + b > 0)},{'left' if a < 0 else 'right'}" for a, b in zip(x, y, strict=True)]
    (tmp_path / "rows.csv").write_text("\n".join(["x,y,yes,side", *lines]))
    (tmp_path / "table.yaml").write_text(TABLE)
    assert torchlite("train", "table.yaml", "--quiet").code == 0
    return "runs/table/latest"


def report(torchlite, *arguments):
    return json.loads(torchlite("eval", *arguments, "--json").out)


def test_other_metrics_than_the_configuration_s(torchlite, digits):
    found = report(torchlite, digits, "--metrics", "roc_auc,{top_k: 3}")["metrics"]
    assert list(found) == ["loss", "accuracy", "roc_auc", "top_k"]
    result = torchlite("eval", digits, "--metrics", "acuracy")
    assert result.code == 3
    assert "did you mean 'accuracy'?" in result.err


def test_the_folder_of_a_checkpoint(torchlite, digits):
    last = report(torchlite, digits, "--checkpoint", "6")
    assert last["step"] == 6
    folder = find_run(digits).path / "checkpoints" / "step-000006"
    assert report(torchlite, folder) == last
    assert torchlite("eval", folder.with_name("step-000007")).code == 6


def test_another_configuration_says_what_the_weights_are_tried_on(torchlite, table, tmp_path):
    (tmp_path / "few.csv").write_text("x,y,yes,side\n5,5,1,right\n-5,-5,0,left\n-5,-5,1,left\n")
    (tmp_path / "other.yaml").write_text("extends: table.yaml\nname: other\ndata: {test: few.csv}\n")
    step = report(torchlite, table, "--split", "val")["step"]
    found = report(torchlite, table, "other.yaml")
    assert (found["samples"], found["step"]) == (3, step)
    assert found["metrics"]["accuracy"] == pytest.approx(2 / 3)
    assert not (find_run(table).path / "eval" / "test.json").exists()

    assert torchlite("export", table, "--format", "safetensors", "-o", "weights.safetensors").code == 0
    weights = report(torchlite, "weights.safetensors", "other.yaml")
    assert weights == {**found, "step": None}
    assert torchlite("eval", "weights.safetensors", "other.yaml").out.endswith("(3 samples)\n")


def test_weights_that_need_a_configuration_or_another_one(torchlite, table, config):
    assert torchlite("export", table, "--format", "npz", "-o", "weights.npz").code == 0
    alone = torchlite("eval", "weights.npz")
    assert alone.code == 2
    assert "does not say of which model: name a run, or a configuration behind it" in alone.err
    misfit = torchlite("eval", "weights.npz", config)
    assert misfit.code == 6
    assert "do not fit the model" in misfit.err
    assert torchlite("eval", "missing.pt", config).code == 2
    mistaken = torchlite("eval", "weights.npz", "missing.yaml")
    assert mistaken.code == 3
    assert "missing.yaml" in mistaken.err


def test_of_each_class(torchlite, digits):
    whole = report(torchlite, digits)
    confusion = np.array(whole["confusion"])
    one = whole["per_class"]["3"]
    assert one["samples"] == confusion[3].sum()
    assert one["accuracy"] == pytest.approx(confusion[3, 3] / confusion[3].sum())
    assert one["precision"] == pytest.approx(confusion[3, 3] / max(confusion[:, 3].sum(), 1))


def test_slices_add_up(torchlite, digits):
    whole = report(torchlite, digits, "--slices", "class")
    parts = whole["slices"]["class"].values()
    assert sum(part["samples"] for part in parts) == whole["samples"]
    for name in ("loss", "accuracy"):
        mean = sum(part["samples"] * part["metrics"][name] for part in parts) / whole["samples"]
        assert mean == pytest.approx(whole["metrics"][name], rel=1e-6)


def test_columns_of_a_table_also_those_that_the_model_does_not_get(torchlite, table):
    whole = report(torchlite, table, "--split", "val", "--slices", "side", "--slices", "x", "--ci")
    assert list(whole["slices"]["side"]) == ["left", "right"]
    assert len(whole["slices"]["x"]) == 4
    assert whole["samples"] == 100
    for column in whole["slices"].values():
        assert sum(part["samples"] for part in column.values()) == 100
    low, high = whole["intervals"]["accuracy"]
    assert low <= whole["metrics"]["accuracy"] <= high
    wide = whole["slices"]["side"]["left"]["intervals"]["accuracy"]
    assert wide[1] - wide[0] > high - low
    shown = torchlite("eval", table, "--split", "val", "--slices", "side", "--ci").out
    assert f"accuracy {whole['metrics']['accuracy']:.4f} [{low:.4f}, {high:.4f}]" in shown
    assert [line.split()[0] for line in shown.splitlines()[1:]] == ["side", "left", "right"]


@pytest.mark.parametrize(
    ("requirement", "flags", "code"),
    [
        ("accuracy>=0.5", (), 0),
        ("accuracy.low>=0.5", ("--ci",), 0),
        ("accuracy.low>=0.9999", ("--ci",), 9),
        ("accuracy.low>=0.5", (), 2),
        ("accuracy[side=left]>=0.5", ("--slices", "side"), 0),
        ("accuracy[side]>=0.5", ("--slices", "side"), 0),
        ("loss[side]<=0.0001", ("--slices", "side"), 9),
        ("accuracy[side=left].high>=0.5", ("--slices", "side", "--ci"), 0),
        ("accuracy[side=up]>=0.5", ("--slices", "side"), 2),
    ],
)
def test_what_may_be_required(torchlite, table, requirement, flags, code):
    assert torchlite("eval", table, "--split", "val", "--require", requirement, *flags).code == code


def test_no_such_column(torchlite, table, digits):
    result = torchlite("eval", table, "--split", "val", "--slices", "height")
    assert result.code == 5
    assert "no column 'height'; it has x, y, yes, side" in result.err
    assert torchlite("eval", digits, "--slices", "side").code == 2
