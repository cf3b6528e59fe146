"""What is installed, and what importing costs."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml
from typer.testing import CliRunner

from torchlite.cli.main import application

ROOT = Path(__file__).parents[1]


def python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


def test_every_package_folder_is_listed():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in ROOT.glob("torchlite/**/__init__.py")}
    assert listed == found | {"torchlite.cli", "torchlite.configs", "torchlite.datasets"}


def test_cli_and_datasets_do_not_install_under_their_own_names():
    code = "import importlib.util as u; print(u.find_spec('torchlite.datasets') is not None)"
    assert python(code) == "True"


def test_the_top_level_is_what_was_asked_for():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    top = {name.split("/")[0] for name in tracked if name}
    folders = {"torchlite", "cli", "configs", "datasets", "tests", "benchmarks", "docs"}
    assert {name for name in top if not name.startswith(".")} <= folders | {"pyproject.toml", "README.md", "LICENSE"}


def test_help_and_a_bare_import_do_not_load_numpy():
    code = "\n".join(
        [
            "import sys; sys.argv = ['torchlite', '--help']",
            "from torchlite.cli.main import main",
            "try: main()",
            "except SystemExit: pass",
            "print('numpy' in sys.modules)",
        ]
    )
    assert python(code).endswith("False")
    assert python("import sys, torchlite; print('numpy' in sys.modules)") == "False"


def test_names_load_on_first_use():
    assert (
        python("import torchlite as torch; print(torch.arange(3).sum().item(), torch.nn.Linear.__name__)") == "3 Linear"
    )
    assert "tensor" in python("import torchlite; print(dir(torchlite))")


def test_an_unknown_name_is_an_attribute_error():
    code = "import torchlite\ntry:\n    torchlite.no_such_name\nexcept AttributeError as e:\n    print(e)"
    assert python(code) == "module 'torchlite' has no attribute 'no_such_name'"


def test_hooks_and_action_call_commands_that_exist():
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    action = yaml.safe_load((ROOT / ".github" / "actions" / "validate" / "action.yml").read_text())
    script = "\n".join(step["run"] for step in action["runs"]["steps"])
    called = [hook["entry"] for hook in hooks] + [line for line in script.splitlines() if "torchlite validate" in line]
    options = set(re.findall(r"--[a-z-]+", " ".join(called) + script)) - {"--quiet"}
    help_text = CliRunner().invoke(application("validate"), ["validate", "--help"], terminal_width=200).stdout
    assert options and all(option in help_text for option in options)
    used = {name for step in action["runs"]["steps"] for name in re.findall(r"inputs\.([a-z-]+)", str(step.get("env")))}
    assert used == set(action["inputs"])
