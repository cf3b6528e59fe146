"""What every command understands, wherever it stands on the line."""

import io
import logging

import pytest
from small_runs import CONFIG, write_config

from torchlite.cli import common
from torchlite.errors import UsageError


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def _as_before():
    logger = logging.getLogger("torchlite")
    before = logger.handlers[:], logger.level
    yield
    logger.handlers, logger.level = before
    common.take([])


@pytest.mark.parametrize(
    ("option", "environment", "terminal", "expected"),
    [
        ([], {}, True, True),
        ([], {}, False, False),
        ([], {"NO_COLOR": "1"}, True, False),
        ([], {"NO_COLOR": ""}, True, True),
        ([], {"CLICOLOR_FORCE": "1"}, False, True),
        ([], {"FORCE_COLOR": "1"}, False, True),
        ([], {"NO_COLOR": "1", "CLICOLOR_FORCE": "1"}, False, False),
        ([], {"TERM": "dumb"}, True, False),
        ([], {"CLICOLOR": "0"}, True, False),
        (["--color=always"], {"NO_COLOR": "1"}, False, True),
        (["--color", "never"], {"CLICOLOR_FORCE": "1"}, True, False),
    ],
)
def test_colours(option, environment, terminal, expected, monkeypatch):
    for name in ("NO_COLOR", "CLICOLOR_FORCE", "FORCE_COLOR", "CLICOLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert common.take(["train", *option, "x.yaml"]) == ["train", "x.yaml"]
    assert common.colored(Terminal() if terminal else io.StringIO()) is expected


def test_they_are_taken_from_anywhere_but_behind_two_dashes():
    assert common.take(["-v", "train", "a=1", "--no-input", "--", "--color", "x"]) == [
        "train",
        "a=1",
        "--",
        "--color",
        "x",
    ]
    assert (common.settings.log_level, common.settings.may_ask) == ("info", False)
    assert common.take(["show", "-v", "-v"]) == ["show"]
    assert common.settings.log_level == "debug"
    for wrong in (["--color", "red"], ["--log-level=loud"], ["--color"]):
        with pytest.raises(UsageError, match="takes"):
            common.take(wrong)


def test_mistakes_are_painted_and_only_where_asked_for(torchlite, tmp_path):
    config = write_config(tmp_path, CONFIG.replace("optim:", "optmi:"))
    plain = torchlite("validate", config)
    painted = torchlite("validate", config, "--color", "always")
    assert "\033[" not in plain.out
    assert "\033[1;31merror[TL201]:\033[0m" in painted.out
    assert "\033[" not in torchlite("validate", config, "--format", "json", "--color", "always").out
    assert torchlite("train", config, "--color=always").err.count("\033[1;31merror[") >= 1
    assert torchlite("train", config, "--color=pink").code == 2


def test_logs_go_to_standard_error_where_they_are_asked_for(torchlite, tmp_path):
    quick = ("train.steps=2", "train.accumulate=1", "schedule={type: constant}", "--quiet")
    config = write_config(tmp_path)
    assert "torchlite.train" not in torchlite("train", config, *quick).err
    assert "INFO torchlite.train: step 2: train/loss" in torchlite("-v", "train", config, *quick).err
    assert "DEBUG torchlite.train: step 1: loss" in torchlite("train", config, *quick, "--log-level", "debug").err


def test_only_a_person_is_asked(torchlite, tmp_path, monkeypatch):
    quick = ("train.steps=2", "train.accumulate=1", "schedule={type: constant}", "--quiet")
    config = write_config(tmp_path)
    for _ in range(2):
        torchlite("train", config, *quick)
    asked = []
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or "y")
    torchlite("runs", "gc", "--keep", "1")
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    torchlite("runs", "gc", "--keep", "1", "--no-input")
    assert asked == []
    torchlite("runs", "gc", "--keep", "1")
    assert len(asked) == 1
    assert len(list((tmp_path / "runs" / "small").iterdir())) == 1
