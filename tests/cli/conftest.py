"""Commands run in this process, as a user would type them."""

import os
import sys
from typing import NamedTuple

import pytest
from small_runs import write_config


class Result(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def torchlite(capsys, monkeypatch, tmp_path):
    """Run a command in an empty folder and give its exit code and what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")

    def run(*arguments):
        from torchlite.cli.main import main

        monkeypatch.setattr(sys, "argv", ["torchlite", *map(os.fspath, arguments)])
        code = 0
        try:
            main()
        except SystemExit as leaving:
            code = leaving.code or 0
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run


@pytest.fixture
def config(tmp_path):
    """A configuration that trains in a second."""
    return write_config(tmp_path)
