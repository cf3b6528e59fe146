"""Mended files: the mistake is gone, all else is as it was."""

from pathlib import Path

import pytest

from torchlite.train.config.diagnostics import Fix
from torchlite.train.config.fixes import as_patch, fixed_text, write_fixes
from torchlite.train.config.load import inspect_config

BASE = """\
# the shared part
optim: {type: sgd, lrr: 0.1}   # the rate
"""
MAIN = """\
version: 1   # of the format
extends: base.yaml
data:
  type: digits
  batchsize: 8   # samples

  download: yes  # where it is missing
model: {layers: [Flaten, {Linear: 10}]}
"trian": {epochs: 1}
"""
MENDED = (
    MAIN.replace("batchsize", "batch_size")
    .replace("yes", "true")
    .replace("Flaten", "Flatten")
    .replace('"trian"', "train")
)


def write(folder: Path) -> Path:
    (folder / "base.yaml").write_text(BASE)
    (folder / "main.yaml").write_text(MAIN)
    return folder / "main.yaml"


def test_comments_and_layout_stay_and_bases_are_mended_too(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert write_fixes(inspect_config(path).diagnostics) == 5
    assert path.read_text() == MENDED
    assert (tmp_path / "base.yaml").read_text() == BASE.replace("lrr", "lr")
    assert inspect_config(path).diagnostics == []


def test_the_patch_is_what_would_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    patch = as_patch(inspect_config("main.yaml").diagnostics)
    assert (tmp_path / "main.yaml").read_text() == MAIN
    assert "--- a/base.yaml\n+++ b/base.yaml\n" in patch
    changed = [line for line in patch.splitlines() if line.startswith(("+", "-")) and line[1:3] not in ("++", "--")]
    assert [line for line in changed if line.startswith("+")] == [
        "+optim: {type: sgd, lr: 0.1}   # the rate",
        "+  batch_size: 8   # samples",
        "+  download: true  # where it is missing",
        "+model: {layers: [Flatten, {Linear: 10}]}",
        "+train: {epochs: 1}",
    ]


@pytest.mark.parametrize("text", ["\ufeffseed: 010\r\nname: x\r\n", "seed: 010", "# ünïcödé ✓\n\n\nseed: 010  # ✗\n"])
def test_marks_and_line_ends_stay(tmp_path: Path, text: str) -> None:
    path = tmp_path / "main.yaml"
    path.write_bytes(text.encode())
    write_fixes(inspect_config(path).diagnostics)
    assert path.read_bytes() == text.replace("010", "10").encode()


def test_what_overlaps_is_made_once() -> None:
    fixes = [Fix(1, 1, 4, "one"), Fix(1, 1, 4, "one"), Fix(1, 3, 6, "two"), Fix(2, 1, 2, "X")]
    assert fixed_text("abcdef\nxyz", fixes) == "onedef\nXyz"


@pytest.mark.parametrize("written, meant", [("NO", "'NO'"), ("1:30", "'1:30'"), ("on", "'on'")])
def test_what_other_readers_take_for_something_else_is_quoted(tmp_path: Path, written: str, meant: str) -> None:
    path = tmp_path / "main.yaml"
    path.write_text(f"vars: {{a: {written}}}\n")
    found = [one for one in inspect_config(path).diagnostics if one.code == "TL110"]
    write_fixes(found)
    assert path.read_text() == f'vars: {{a: "{written}"}}\n'
