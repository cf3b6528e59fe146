"""`torchlite show`, `explain` and `schema` as a user runs them."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from torchlite.cli.main import COMMANDS, application
from torchlite.train.config.load import require_config

BASE = """\
version: 1
data: {type: digits, batch_size: 8, transforms: [to_float]}
model: {layers: [Flatten, {Linear: $data.num_classes}]}
optim: {type: sgd, lr: 0.1}
train: {epochs: 1}
"""
MAIN = """\
version: 1
extends: base.yaml
name: "010"
optim: {lr: 1e-5}
"""


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "main.yaml").write_text(MAIN)

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(application(*COMMANDS), list(arguments), catch_exceptions=False)
        assert result.exit_code == 0
        return result.stdout

    return run


def test_what_was_written(call: Any) -> None:
    assert call("show", "main.yaml", "train.epochs=3") == (
        "version: 1\nname: '010'\n"
        "data:\n  type: digits\n  batch_size: 8\n  transforms:\n"
        "    train:\n      - type: to_float\n    eval:\n      - type: to_float\n"
        "model:\n  layers:\n    - type: Flatten\n    - type: Linear\n      out_features: 10\n"
        "optim:\n  type: sgd\n  lr: 1.0e-05\n"
        "train:\n  epochs: 3\n"
    )


@pytest.mark.parametrize("options", [[], ["--resolved"], ["--resolved", "--origin"]])
def test_what_is_shown_means_the_same(call: Any, tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "shown.yaml").write_text(call("show", "main.yaml", *options))
    assert require_config("shown.yaml").resolved() == require_config("main.yaml").resolved()
    assert call("show", "shown.yaml", "--diff", "main.yaml") == "main.yaml and shown.yaml mean the same\n"


def test_the_place_of_every_value(call: Any) -> None:
    lines = call("show", "main.yaml", "train.epochs=3", "--resolved", "--origin").splitlines()
    places = {line.split("#")[0].strip(): line.split("# ")[1] for line in lines if "#" in line}
    assert places["lr: 1.0e-05"] == "main.yaml:4"
    assert places["type: sgd"] == "base.yaml:4"
    assert places["epochs: 3"] == "command line: train.epochs=3"
    assert places["accumulate: 1"] == "default"


def test_what_differs(call: Any) -> None:
    assert call("show", "main.yaml", "--diff", "base.yaml", "--origin").splitlines() == [
        "- name: run  # default",
        "+ name: '010'  # main.yaml:3",
        "- optim.lr: 0.1  # base.yaml:4",
        "+ optim.lr: 1.0e-05  # main.yaml:4",
    ]


def test_explain(call: Any) -> None:
    assert call("explain", "train.clip.norm") == (
        "train.clip.norm: a number, above 0; default unset\nLargest norm of all gradients together.\n"
    )


def test_schema(call: Any, tmp_path: Path) -> None:
    assert json.loads(call("schema"))["properties"]["train"]["type"] == "object"
    call("schema", "--out", "made/schema.json")
    assert json.loads((tmp_path / "made" / "schema.json").read_text()) == json.loads(call("schema"))
