"""README tells the truth: its Python runs, its configuration is the bundled one, its links lead somewhere."""

import re
from pathlib import Path

import pytest

from torchlite.errors import TorchliteError

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.M | re.S)


@pytest.mark.parametrize("source", blocks("python"))
def test_python_blocks_run(source, capsys):
    exec(compile(source, "README.md", "exec"), {})
    promised = re.findall(r"print\(.*\)  # (.*)", source)
    assert capsys.readouterr().out.splitlines() == promised


def test_the_configuration_is_the_bundled_one():
    assert blocks("yaml") == [(ROOT / "configs" / "digits_mlp.yaml").read_text()]


def test_links_lead_somewhere():
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", README) if "://" not in target]
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_exit_codes_are_those_of_the_errors():
    table = README.split("| exit code |")[1].split("\n\n")[0]
    listed = {int(n) for n in re.findall(r"\d+", "".join(line.split("|")[1] for line in table.splitlines()[2:]))}
    used = {kind.exit_code for kind in TorchliteError.__subclasses__()}
    assert used | {0, 4, 75, 130} == listed
