"""A run taken once more: what is different is said, and every number and weight is compared."""

import json
import subprocess
import sys

import pytest
from small_runs import CONFIG, Quiet, train

from torchlite.errors import DataError
from torchlite.train import run
from torchlite.train.reproduction import compare, differences, reproduce

SHORT = ("train.steps=6", "train.accumulate=1", "eval.every=3 steps", "checkpoint={every: 2 steps, keep: {last: 100}}",
         "schedule.warmup=2 steps")  # fmt: skip


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return train(tmp_path_factory.mktemp("run"), *SHORT)


def test_a_run_comes_to_the_same(directory):
    assert differences(directory, directory.read_config()) == []
    again, comparison = reproduce(directory, Quiet())
    assert comparison.identical
    assert (comparison.rows, comparison.step) == (8, 6)
    assert comparison.tensors > 8
    assert again.path.parent == directory.path / "repro"
    assert json.loads((again.path / "comparison.json").read_text())["identical"]
    _, part = reproduce(directory, Quiet(), steps=4)
    assert part.identical
    assert (part.rows, part.step) == (5, 4)


def test_what_differs_is_named_with_the_largest_difference(directory, tmp_path):
    other = train(tmp_path, *SHORT, "optim.lr=0.06")
    found = compare(directory, other)
    assert not found.identical
    assert (found.first["step"], found.first["key"]) == (1, "lr")
    assert found.largest["key"] in ("lr", "val/accuracy", "loss", "val/loss", "train/loss")
    assert found.tensor["difference"] > 0
    assert str(found).startswith("different from step 1 on: lr was ")


def test_a_run_whose_configuration_was_changed_is_changed_again(tmp_path):
    directory = train(tmp_path, *SHORT)
    run.resume(directory, Quiet(), overrides=["train.steps=8", "optim.lr=0.1"])
    run.resume(directory, Quiet(), overrides=["train.steps=9", "train.clip=null"])
    assert [change["step"] for change in directory.changes()] == [6, 8]
    _, comparison = reproduce(directory, Quiet())
    assert comparison.identical
    assert comparison.step == 9


def test_a_fork_begins_where_it_was_forked(directory):
    forked = run.resume(directory, Quiet(), overrides=["optim.lr=0.2"], begin="4").run
    _, comparison = reproduce(forked, Quiet())
    assert comparison.identical
    assert comparison.step == 6


def test_where_values_come_from_stays_known(tmp_path):
    directory = train(tmp_path, *SHORT)
    run.resume(directory, Quiet(), overrides=["train.steps=7"])
    lines = {
        line.split("#")[0].strip(): line.rpartition("  # ")[2] for line in directory.config.read_text().splitlines()
    }
    assert lines["steps: 7"] == "command line: train.steps=7"
    assert lines["warmup: 2 steps"] == "command line: schedule.warmup=2 steps"
    assert lines["seed: 7"].endswith("config.yaml:3")
    assert lines["workers: 0"] == "default"


def test_changes_of_code_and_surroundings_are_found(tmp_path):
    (tmp_path / "nets.py").write_text("from torchlite import nn\n\n\nclass Flat(nn.Flatten):\n    pass\n")
    text = CONFIG.replace("    - Flatten\n", "    - {type: 'nets:Flat'}\n").replace(
        "data:", "code: [nets.py]\ndata:", 1
    )
    directory = train(tmp_path, *SHORT, text=text)
    with (directory.path / "code" / "nets.py").open("a") as file:
        file.write("# changed\n")
    recorded = json.loads((directory.path / "env.json").read_text())
    recorded["cpu"], recorded["packages"]["numpy"] = "Another", "1.0"
    (directory.path / "env.json").write_text(json.dumps(recorded))
    found = {one.what: one for one in differences(directory, directory.read_config(allow_code=True))}
    assert set(found) == {"cpu", "packages numpy", "code/nets.py"}
    assert found["cpu"].then == "Another"
    data = json.loads((directory.path / "data.json").read_text())
    (directory.path / "data.json").write_text(json.dumps({**data, "fingerprint": "0" * 64}))
    with pytest.raises(DataError, match="is not what"):
        reproduce(directory, Quiet(), allow_code=True)


def git(folder, *arguments):
    who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


def test_a_run_is_repeated_with_the_modules_of_its_commit_and_patch(tmp_path):
    """The user's code imports a module that is not listed; it has changed since the commit, and again since the run."""
    repository = tmp_path / "repository"
    (repository / "work").mkdir(parents=True)
    (repository / "factor.py").write_text("FACTOR = 1.0\n")
    git(repository, "init", "-q")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "first")
    (repository / "factor.py").write_text("FACTOR = 0.5\n")
    code = "import sys\nsys.path.append('..')\nfrom factor import FACTOR\nfrom torchlite import nn\n\n\n"
    code += "class Scaled(nn.Flatten):\n    def forward(self, x):\n        return super().forward(x) * FACTOR\n"
    (repository / "work" / "nets.py").write_text(code)
    text = CONFIG.replace("    - Flatten\n", "    - {type: 'nets:Scaled'}\n").replace(
        "data:", "code: [nets.py]\ndata:", 1
    )
    (repository / "work" / "config.yaml").write_text(text)
    program = (
        "from pathlib import Path\nfrom torchlite.train import run\nfrom torchlite.train.callbacks import Observers\n"
        "from torchlite.train.config.load import require_config\n"
        f"run.train(require_config(Path('config.yaml'), {[*SHORT]}), Observers([]), root=Path('runs'))\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=repository / "work", check=True)
    (path,) = (repository / "work" / "runs" / "small").iterdir()
    directory = run.RunDirectory(path)
    patch = (path / "git.patch").read_bytes()
    assert b"FACTOR = 0.5" in patch
    assert b"class Scaled" in patch
    assert b"version: 1" in patch
    (repository / "factor.py").write_text("FACTOR = 2.0\n")
    before = (repository / "factor.py").stat().st_mtime_ns
    _, comparison = reproduce(directory, Quiet(), allow_code=True, at_commit=True)
    assert comparison.identical
    assert (repository / "factor.py").stat().st_mtime_ns == before
    listed = subprocess.run(["git", "worktree", "list"], cwd=repository, capture_output=True, text=True, check=True)
    assert len(listed.stdout.splitlines()) == 1
