"""What a changed key means for a run that goes on."""

import pytest
from small_runs import CONFIG, Quiet, final_state, losses, rewound, train, write_config

from torchlite.errors import CheckpointError, DataError
from torchlite.train import run
from torchlite.train.config.load import require_config
from torchlite.train.drift import drift

CONSTANT = "schedule={type: constant}"


@pytest.mark.parametrize(
    ("before", "after", "effect"),
    [
        ([CONSTANT], [CONSTANT, "train.steps=80"], "exact"),
        ([], ["train.steps=80"], "inexact"),
        ([], ["eval.every=5 steps"], "exact"),
        (["schedule={type: ReduceLROnPlateau}"], ["schedule={type: ReduceLROnPlateau}", "eval.every=5 steps"], "inexact"),
        ([], ["data.workers=2"], "exact"),
        ([], ["checkpoint.every=3 steps"], "exact"),
        ([], ["optim.lr=0.1"], "inexact"),
        ([], ["data.batch_size=32"], "inexact"),
        ([], ["optim={type: adam}"], "forbidden"),
        ([], ["data.split.val=0.2"], "forbidden"),
        ([], ["model.layers.0.Conv2d.out_channels=8"], "forbidden"),
        ([], ["train.ema=0.9"], "forbidden"),
    ],
)  # fmt: skip
def test_effects(before, after, effect, tmp_path):
    path = write_config(tmp_path)
    found = drift(require_config(path, before), require_config(path, after))
    assert found
    assert max((one.effect for one in found), key=["exact", "inexact", "forbidden"].index) == effect


def test_a_forbidden_change_is_refused_before_anything_is_written(tmp_path):
    directory = train(tmp_path, "train.steps=6")
    before = final_state(directory), directory.config.read_bytes()
    with pytest.raises(CheckpointError, match=r"data\.split\.val 0\.1 -> 0\.2  forbidden: samples that were held out"):
        run.resume(directory, Quiet(), overrides=["data.split.val=0.2"])
    assert (final_state(directory), directory.config.read_bytes()) == before


def test_a_change_said_to_be_exact_is(tmp_path):
    options = (CONSTANT, "checkpoint.every=1000 steps")
    for name in "ab":
        (tmp_path / name).mkdir()
    longer = train(tmp_path / "a", *options, "train.steps=16")
    part = train(tmp_path / "b", *options, "train.steps=8")
    run.resume(part, Quiet(), overrides=["train.steps=16", "data.workers=1"])
    assert (losses(part) == losses(longer)).all()
    assert final_state(part)[1] == final_state(longer)[1]


def test_another_batch_size_in_the_middle_of_an_epoch_goes_on(tmp_path):
    whole = train(tmp_path, "train.steps=27")  # an epoch has 81 batches: 27 steps of 3
    part = rewound(whole, 26, tmp_path / "part")
    assert run.resume(part, Quiet(), overrides=["train.steps=31", "data.batch_size=64"]).exit_code == 0
    assert len(losses(part)) == 31


def test_other_data_is_refused(tmp_path):
    (tmp_path / "data.csv").write_text("x,y\n" + "".join(f"{i},{i}\n" for i in range(40)))
    text = CONFIG.replace("type: digits", "type: csv\n  train: data.csv\n  inputs: {x: {kind: number}}\n"
                          "  target: {column: y, kind: number}")  # fmt: skip
    head, _, tail = text.partition("  transforms:")
    text = head + "model: {layers: [{Linear: 1}]}\nloss: mse\n" + tail[tail.index("optim:"):].replace(
        "metrics: [accuracy]\n", "").replace(", monitor: val/accuracy", "")  # fmt: skip
    directory = train(tmp_path, "train.steps=4", "train.accumulate=1", "schedule={type: constant}", text=text)
    (tmp_path / "data.csv").write_text("x,y\n" + "".join(f"{i},{i + 1}\n" for i in range(40)))
    with pytest.raises(DataError, match=r"is not what .* began with"):
        run.resume(directory, Quiet(), overrides=["train.steps=6"])
