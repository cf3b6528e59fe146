"""The page of the command line is current, and help is quick because it imports nothing that is not."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from torchlite.cli.display import plan_lines
from torchlite.cli.main import COMMANDS, application
from torchlite.cli.reference import CHANGES, command_tables
from torchlite.train.beginning import write_template
from torchlite.train.config.load import require_config
from torchlite.train.plan import make_plan

PAGE = Path(__file__).parent.parent.parent / "docs" / "cli.md"
GROUPS = {one.name: one.typer_instance.registered_commands for one in application(*COMMANDS).registered_groups}
LINES = [*COMMANDS, *(f"{group} {one.name}" for group, commands in GROUPS.items() for one in commands)]


def test_the_tables_are_current():
    assert command_tables() in PAGE.read_text(), "run python -m torchlite.cli.reference docs/cli.md"


def test_the_captured_plan_is_what_is_printed_now(tmp_path):
    write_template("digits_mlp", tmp_path)
    plan = make_plan(require_config(tmp_path / "digits_mlp.yaml", CHANGES))
    assert "\n".join(line[:80] for line in plan_lines(plan)) in PAGE.read_text(), "run it with --capture"


def test_captured_sessions_worked():
    captured = PAGE.read_text().partition("captures -->")[2].partition("<!-- end")[0]
    assert "Traceback" not in captured
    assert "rows bit-identical" in captured
    assert "forbidden" in captured
    assert captured.count("ETA") == 2


def imported_by(*arguments):
    """What a command prints, and the modules that are imported when it ends."""
    program = (
        "import sys; sys.argv[0] = 'torchlite'\n"
        "from torchlite.cli.main import main\n"
        "try:\n    main()\nfinally:\n    print(*sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    return done.stdout, set(done.stderr.split())


HEAVY = {"numpy", "cupy", "yaml", "rich", "pydantic", "torchlite.train"}


@pytest.mark.parametrize("line", sorted(LINES))
def test_help_imports_nothing_that_is_not_needed_for_it(line):
    name, *_ = line.split()
    printed, imported = imported_by(*line.split(), "--help")
    assert printed.startswith(f"Usage: torchlite {line} ")
    assert not imported & HEAVY
    commands = {f"torchlite.cli.{module}" for module in COMMANDS.values()}
    assert imported & commands == {f"torchlite.cli.{COMMANDS[name]}"}


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_nor_do_help_and_version_of_the_whole(option):
    printed, imported = imported_by(option)
    assert "torchlite" in printed
    assert not imported & HEAVY


def test_the_list_of_commands_is_that_of_the_commands_themselves():
    listed, whole = (CliRunner().invoke(one, ["--help"]) for one in (application(), application(*COMMANDS)))
    assert listed.stdout == whole.stdout
    assert all(f"  {name} " in listed.stdout for name in COMMANDS)


def test_a_command_behind_options_of_the_whole_and_completed_by_a_shell(torchlite, monkeypatch):
    for before in (["-vvv"], ["--"], ["-vvv", "--"]):
        assert torchlite(*before, "runs", "ls", "-h").out.startswith("Usage: torchlite runs ls ")
    monkeypatch.setenv("_TORCHLITE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "torchlite train --smo")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert torchlite().out == "--smoke\n"


def test_a_group_reads_its_options_where_no_command_comes_first(torchlite):
    assert "Every run, oldest first" in torchlite("runs", "-h").out
    assert "No such option: --no-such" in torchlite("runs", "--no-such", "ls").err
    assert "Did you mean 'show'?" in torchlite("runs", "shwo").err
    assert "No such option: --no-such" in torchlite("--no-such", "train").err
    assert "Did you mean 'train'?" in torchlite("trian").err
    assert torchlite("--version", "train").out.startswith("torchlite ")


def test_a_reader_that_has_enough_is_no_error():
    program = "from torchlite.cli.main import main; main()"
    done = subprocess.run(
        ["bash", "-c", f"'{sys.executable}' -c '{program}' list | head -1"], capture_output=True, text=True, check=False
    )
    assert done.stdout == "layers\n"
    assert done.stderr == ""
