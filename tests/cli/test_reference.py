"""The page of the command line is current, and help is quick because it imports nothing that is not."""

import subprocess
import sys
from pathlib import Path

import pytest

from torchlite.cli.display import plan_lines
from torchlite.cli.main import app
from torchlite.cli.reference import CHANGES, command_tables
from torchlite.train.beginning import write_template
from torchlite.train.config.load import require_config
from torchlite.train.plan import make_plan

PAGE = Path(__file__).parent.parent.parent / "docs" / "cli.md"
NAMES = [one.name for one in (*app.registered_commands, *app.registered_groups)]


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


@pytest.mark.parametrize("name", sorted(NAMES))
def test_help_imports_nothing_that_is_not_needed_for_it(name):
    program = (
        "import sys; sys.argv = ['torchlite', *sys.argv[1:]]\n"
        "from torchlite.cli.main import main\n"
        "try:\n    main()\nfinally:\n"
        "    heavy = {'numpy', 'cupy', 'yaml', 'rich', 'torchlite.train'} & set(sys.modules)\n"
        "    print('imported:', sorted(heavy), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, name, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "Usage: torchlite" in done.stdout
    assert done.stderr.strip() == "imported: []"


def test_a_reader_that_has_enough_is_no_error():
    program = "from torchlite.cli.main import main; main()"
    done = subprocess.run(
        ["bash", "-c", f"'{sys.executable}' -c '{program}' list | head -1"], capture_output=True, text=True, check=False
    )
    assert done.stdout == "layers\n"
    assert done.stderr == ""
