"""Weights to start from are held against the model before anything runs, from the header of their file alone."""

import re

import numpy as np
import pytest
from small_runs import CONFIG, train, write_config

from torchlite.serialization.safetensors import write_safetensors
from torchlite.train.config.validate import Options, validate

NAMES = {
    "0.weight": (4, 1, 3, 3),
    "0.bias": (4,),
    "1.weight": (4,),
    "1.bias": (4,),
    "1.running_mean": (4,),
    "1.running_var": (4,),
    "1.num_batches_tracked": (),
    "5.weight": (10, 256),
    "5.bias": (10,),
}


def findings(tmp_path, shapes, *overrides, options=""):
    write_safetensors(tmp_path / "weights.safetensors", {k: np.zeros(v, np.float32) for k, v in shapes.items()})
    line = f"init: {{weights: {tmp_path / 'weights.safetensors'}{options}}}\n"
    config = write_config(tmp_path, CONFIG + line)
    return [one for one in validate([str(config)], overrides, Options("shapes")).diagnostics if one.code == "TL507"]


def test_weights_that_fit(tmp_path):
    assert findings(tmp_path, NAMES) == []


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        (lambda s: s | {"5.weight": (7, 256)}, r"'5\.weight' is \(7, 256\), the model's is \(10, 256\)", None),
        (lambda s: {k: v for k, v in s.items() if k != "5.bias"}, r"missing: 5\.bias \(list", None),
        (lambda s: s | {"6.bias": (3,)}, r"not of the model: 6\.bias", None),
        (lambda s: {f"module.{k}": v for k, v in s.items()}, r"missing: 0\.weight, ", "rename: {'^module\\.': ''}"),
        (lambda s: {k if k != "5.weight" else "5.wieght": v for k, v in s.items()}, r"missing: 5\.weight", "the file has '5.wieght'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_with_what_helps(change, message, hint, tmp_path):
    found = findings(tmp_path, change(NAMES))
    assert re.search(message, found[0].message)
    assert found[0].source_line.startswith("init:")
    assert hint is None or hint in found[0].hint


def test_what_is_expected_to_differ_may(tmp_path):
    missing = {name: shape for name, shape in NAMES.items() if not name.startswith("5")} | {"9.weight": (1,)}
    assert findings(tmp_path, missing, options=", expect_missing: ['5'], ignore_extra: true") == []
    assert findings(tmp_path, {f"a.{k}": v for k, v in NAMES.items()}, options=", rename: {'^a[.]': ''}") == []


def test_damaged_files_are_found_and_missing_ones_are_left_to_the_training(tmp_path):
    findings(tmp_path, NAMES)
    (tmp_path / "weights.safetensors").write_bytes(b"nonsense")
    config = write_config(tmp_path, CONFIG + f"init: {{weights: {tmp_path / 'weights.safetensors'}}}\n")
    assert "TL507" in [one.code for one in validate([str(config)], [], Options("shapes")).diagnostics]
    (tmp_path / "weights.safetensors").unlink()
    assert [one for one in validate([str(config)], [], Options("shapes")).diagnostics if one.code != "TL409"] == []


@pytest.mark.parametrize("average", [False, True])
def test_runs_are_held_against_the_model_too(average, tmp_path):
    directory = train(tmp_path, "train.steps=2", "schedule={type: constant}", *(["train.ema=0.5"] if average else []))
    for width, count in ((10, 0), (12, 1)):
        text = CONFIG.replace("Linear: $data.num_classes", f"Linear: {width}")
        config = write_config(tmp_path, text + f"init: {{weights: {directory.path}/last}}\n")
        found = validate([str(config)], [], Options("shapes")).diagnostics
        assert [one.code for one in found if "weights of" in one.message] == ["TL507"] * count


def test_weights_of_a_teacher(tmp_path):
    directory = train(tmp_path, "train.steps=2", "schedule={type: constant}")
    teacher = f"teacher: {{weights: {directory.path}, model: {{layers: [Flatten, {{Linear: 10}}]}}}}\nloss: distill\n"
    found = validate([str(write_config(tmp_path, CONFIG + teacher))], [], Options("shapes")).diagnostics
    assert {(one.code, one.key) for one in found if one.severity == "error"} == {("TL507", "teacher.weights")}
