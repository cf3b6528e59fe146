"""`torchlite validate` as a user runs it."""

import json
import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import torchlite.train
from torchlite.cli.main import application
from torchlite.errors import UsageError
from torchlite.train.config.diagnostics import Problem
from torchlite.train.registry import registry

GOOD = """\
version: 1
data: {type: digits, batch_size: 8}
model: {layers: [Flatten, {Linear: 10}]}
optim: {type: sgd, lr: 0.1}
train: {epochs: 1}
"""
BAD = GOOD.replace("lr:", "lrr:")
WARNS = GOOD + "schedule: {type: cosine, gamma: 0.5}\n"


class Linear:
    inferred = {"in_features": -1}  # noqa: RUF012

    def __init__(self, in_features: int, out_features: int) -> None: ...


class Flatten:
    def __init__(self) -> None: ...


class SGD:
    def __init__(self, params: Any, lr: float = 1e-3) -> None: ...


class Loss:
    def __init__(self) -> None: ...


Validate = Callable[..., Result]


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """Stands in for the shape check and the smoke run; its problems can be set."""
    module = types.SimpleNamespace(shapes=[], data=[], smoke=[], calls=[])

    def check_shapes(config: Any) -> tuple[dict[str, Any], list[Problem]]:
        module.calls.append(("shapes", config.path.name))
        return {"params": 650, "spec": "[N, 1, 8, 8] -> [N, 10]"}, module.shapes

    def check_smoke(config: Any) -> list[Problem]:
        module.calls.append(("smoke", config.path.name))
        problems: list[Problem] = module.smoke
        return problems

    def check_data(config: Any) -> list[Problem]:
        module.calls.append(("data", config.path.name))
        problems: list[Problem] = module.data
        return problems

    module.check_shapes, module.check_smoke, module.check_data = check_shapes, check_smoke, check_data
    for name in ("check", "smoke"):
        monkeypatch.setitem(sys.modules, f"torchlite.train.{name}", module)  # type: ignore[arg-type]
        monkeypatch.setattr(torchlite.train, name, module, raising=False)
    return module


@pytest.fixture
def validate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checks: types.SimpleNamespace) -> Any:
    from torchlite.train.config import load

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    card = types.SimpleNamespace(
        name="digits",
        num_classes=10,
        splits={"train": 1000},
        input=types.SimpleNamespace(shape=(1, 8, 8), dtype="uint8"),
    )
    monkeypatch.setattr(load, "dataset_names", lambda: ("digits",))
    monkeypatch.setattr(load, "dataset_card", lambda name: card)
    for name, text in {"good": GOOD, "bad": BAD, "warns": WARNS}.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    runner = CliRunner()
    tables: Any = {
        "layer": {"Linear": Linear, "Flatten": Flatten},
        "loss": {"cross_entropy": Loss},
        "optimizer": {"sgd": SGD},
        "transform": {},
        "metric": {},
    }

    def call(*arguments: str, text: str | None = None) -> Result:
        return runner.invoke(application("validate"), ["validate", *arguments], input=text)

    with registry.replaced(tables):
        yield call


@pytest.mark.parametrize(
    "arguments, code",
    [
        (["good.yaml"], 0),
        (["bad.yaml"], 3),
        (["warns.yaml"], 0),
        (["warns.yaml", "--strict"], 4),
        (["bad.yaml", "warns.yaml", "--strict"], 3),
        (["good.yaml", "optim.lr=-1"], 3),
        (["bad.yaml", "unset:optim.lrr"], 0),
        (["good.yaml", "--level", "nonsense"], 2),
        (["good.yaml", "--no-such-option"], 2),
        (["."], 3),
        (["*.yaml"], 3),
        (["bad.yaml", "--level", "syntax"], 0),
    ],
)
def test_exit_codes(arguments: list[str], code: int, validate: Validate) -> None:
    assert validate(*arguments).exit_code == code


@pytest.mark.parametrize("arguments", [["none.yaml"], ["empty*/x.yaml"], ["optim.lr=1"]])
def test_nothing_to_validate_is_wrong_usage(arguments: list[str], validate: Validate) -> None:
    assert isinstance(validate(*arguments).exception, UsageError)


def test_text(validate: Validate) -> None:
    result = validate("bad.yaml", "good.yaml")
    assert result.stdout == (
        "error[TL203]: sgd() has no argument 'lrr'\n"
        "  --> bad.yaml:4:20\n"
        "4 | optim: {type: sgd, lrr: 0.1}\n"
        "  |                    ^^^ did you mean 'lr'?\n"
        "\n"
        "  bad.yaml    failed, 1 error   650 params   [N, 1, 8, 8] -> [N, 10]\n"
        "  good.yaml   ok   650 params   [N, 1, 8, 8] -> [N, 10]\n"
        "2 files: 1 ok, 1 failed — 1 error (1 fixable with --fix)\n"
    )


def test_findings_in_overrides_come_after_those_in_the_file(validate: Validate) -> None:
    document = json.loads(validate("bad.yaml", "train.epochs=x", "--format", "json").stdout)
    assert [one["origin"]["kind"] for one in document["diagnostics"]] == ["file", "override"]


def test_levels(validate: Validate, checks: types.SimpleNamespace) -> None:
    for level, calls in {
        "syntax": [],
        "schema": [],
        "shapes": [("shapes", "good.yaml")],
        "data": [("shapes", "good.yaml"), ("data", "good.yaml")],
        "smoke": [("shapes", "good.yaml"), ("smoke", "good.yaml")],
    }.items():
        checks.calls.clear()
        assert validate("good.yaml", "--level", level).exit_code == 0
        assert checks.calls == calls


def test_problems_of_deeper_levels_are_placed(validate: Validate, checks: types.SimpleNamespace) -> None:
    checks.shapes.append(Problem(("model", "layers", 1), "TL501", "does not fit", "use another"))
    checks.smoke.append(Problem(("optim", "lr"), "TL702", "diverges"))
    result = validate("good.yaml", "--level", "smoke", "--format", "json")
    assert result.exit_code == 3
    document = json.loads(result.stdout)
    assert [(one["code"], one["line"], one["col"], one["end_col"], one["key"]) for one in document["diagnostics"]] == [
        ("TL501", 3, 28, 34, "model.layers.1")
    ]
    assert document["files"][0]["checks"] == {
        "syntax": "ok",
        "schema": "ok",
        "shapes": "failed",
        "smoke": "skipped:errors",
    }
    checks.shapes.clear()
    document = json.loads(validate("good.yaml", "--level", "smoke", "--format", "json").stdout)
    assert [(one["code"], one["line"], one["col"]) for one in document["diagnostics"]] == [("TL702", 4, 24)]


def test_json(validate: Validate) -> None:
    document = json.loads(validate("good.yaml", "--format", "json").stdout)
    assert document == {
        "version": 1,
        "ok": True,
        "files": [
            {
                "path": "good.yaml",
                "ok": True,
                "params": 650,
                "flops": None,
                "peak_bytes": None,
                "spec": "[N, 1, 8, 8] -> [N, 10]",
                "checks": {"syntax": "ok", "schema": "ok", "shapes": "ok"},
            }
        ],
        "diagnostics": [],
    }


def test_standard_input(validate: Validate) -> None:
    assert validate("-", text=GOOD).exit_code == 0
    result = validate("-", text=BAD)
    assert result.exit_code == 3 and "--> <stdin>:4:20" in result.stdout


def test_github(validate: Validate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    annotation = (
        "::error file=bad.yaml,line=4,col=20,endColumn=23,title=TL203::sgd() has no argument 'lrr'%0Adid you mean 'lr'?"
    )
    assert validate("bad.yaml", "--format", "github").stdout == annotation + "\n"
    summary = (tmp_path / "summary.md").read_text()
    assert "| bad.yaml | failed |" in summary and "| TL203 | bad.yaml:4:20 |" in summary
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    beside = validate("bad.yaml").stdout
    assert annotation in beside and "--> bad.yaml:4:20" in beside
    assert "::error" not in validate("bad.yaml", "--format", "text").stdout


def test_output_and_limit(validate: Validate, tmp_path: Path) -> None:
    result = validate("bad.yaml", "--format", "json", "--output", "out.json")
    assert result.stdout == "" and "1 failed" in result.stderr
    assert json.loads((tmp_path / "out.json").read_text())["ok"] is False
    (tmp_path / "many.yaml").write_text(BAD + "a: 1\nb: 1\nc: 1\n")
    limited = validate("many.yaml", "--max-errors", "2").stdout
    assert limited.count("error[") == 2 and "... and 2 more" in limited and "4 errors" in limited


def test_user_code_is_not_imported_unless_asked(
    validate: Validate, checks: types.SimpleNamespace, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text("raise SystemExit\nclass Net:\n    def __init__(self): pass\n")
    (tmp_path / "user.yaml").write_text(
        GOOD.replace("layers: [Flatten, {Linear: 10}]", 'type: "mine:Net"') + "code: [mine.py]\n"
    )
    result = validate("user.yaml")
    assert result.exit_code == 0 and "not checked: user code (pass --import-code)" in result.stdout
    assert checks.calls == []
    validate("user.yaml", "--import-code")
    assert checks.calls == [("shapes", "user.yaml")]


def test_a_finding_in_a_shared_base_counts_once(validate: Validate, tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("abstract: true\n" + BAD)
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(f"extends: base.yaml\nname: {name}\n")
    document = json.loads(validate("one.yaml", "two.yaml", "--format", "json").stdout)
    assert [one["file"] for one in document["diagnostics"]] == ["base.yaml"]
    assert [one["file"] for one in document["diagnostics"][0]["origin"]["chain"]] == ["one.yaml"]
    assert [one["ok"] for one in document["files"]] == [False, False]


def run(*arguments: str, code: str = "from torchlite.cli.main import main; main()") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "100"},
        check=False,
    )


def test_version_and_usage_errors() -> None:
    from torchlite import __version__

    assert run("--version").stdout == f"torchlite {__version__}\n"
    missing = run("validate", "nowhere.yaml")
    assert missing.returncode == 2
    assert missing.stderr == "error: no configuration matches 'nowhere.yaml'\n"
    assert run("validate").returncode == 2
    assert run("no-such-command").returncode == 2


def test_errors_become_exit_codes() -> None:
    start = "from torchlite.cli import doctor, main\nfrom torchlite.errors import DataError\n"
    raising = start + "def command():\n    raise {}\ndoctor.command = command\nmain.main()\n"
    data = run("doctor", code=raising.format("DataError('no files')"))
    assert (data.returncode, data.stderr) == (5, "error: no files\n")
    internal = run("doctor", code=raising.format("ZeroDivisionError('oops')"))
    assert internal.returncode == 1
    assert "Traceback" in internal.stderr and internal.stderr.endswith("please report it with the lines above.\n")
    interrupted = run("doctor", code=raising.format("KeyboardInterrupt"))
    assert interrupted.returncode == 130


def test_errors_of_the_data_alone_have_their_own_exit_code(validate: Validate, checks: types.SimpleNamespace) -> None:
    checks.data.append(Problem(("data",), "TL601", "it is not there"))
    assert validate("good.yaml", "--level", "data").exit_code == 5
    assert validate("good.yaml", "bad.yaml", "--level", "data").exit_code == 3


def test_fix_mends_the_file_and_reports_what_is_left(validate: Validate, tmp_path: Path) -> None:
    assert validate("bad.yaml", "--diff").stdout.startswith("--- a/bad.yaml\n+++ b/bad.yaml\n")
    assert (tmp_path / "bad.yaml").read_text() == BAD
    assert validate("bad.yaml", "--fix").exit_code == 0
    assert (tmp_path / "bad.yaml").read_text() == GOOD


def test_standard_input_cannot_be_mended(validate: Validate) -> None:
    assert isinstance(validate("-", "--fix", text=BAD).exception, UsageError)


def test_only_what_has_changed_since_a_commit(validate: Validate, tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], cwd=tmp_path, check=True)

    (tmp_path / "child.yaml").write_text("extends: good.yaml\nversion: 1\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    (tmp_path / "good.yaml").write_text(GOOD + "seed: 1\n")
    (tmp_path / "new.yaml").write_text(GOOD)
    document = json.loads(validate(".", "--changed-since", "HEAD", "--format", "json").stdout)
    assert [one["path"] for one in document["files"]] == ["child.yaml", "good.yaml", "new.yaml"]
    assert validate("bad.yaml", "--changed-since", "HEAD").stdout == "0 files: 0 ok\n"
    assert isinstance(validate("bad.yaml", "--changed-since", "nowhere").exception, UsageError)
