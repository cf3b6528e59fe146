"""Configurations to begin with: the examples that come along, and one made from a table."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import yaml

from torchlite.datasets.catalogue import PACKAGE_FOLDER
from torchlite.errors import DataError, UsageError
from torchlite.serialization.atomic import write_file
from torchlite.train.config.diagnostics import suggestion

_ROWS = 2000
_MOST_CLASSES = 20
_WORDS_OF_TEXT = 4

WORKFLOW = """\
# Checks every configuration before it is merged, and trains two steps of each on made-up data.
name: configurations
on: [push, pull_request]
jobs:
  validate:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with: {python-version: "3.12"}
      - run: pip install torchlite
      - run: torchlite validate 'configs/**/*.yaml' --strict --level smoke
"""


def examples_folder() -> Path:
    """Where the example configurations lie: in the package, or beside it in a checkout.

    Raises:
        UsageError: when this installation has none.
    """
    for folder in (Path(str(files("torchlite"))) / "configs", PACKAGE_FOLDER.resolve().parent / "configs"):
        if folder.is_dir():
            return folder
    raise UsageError("this installation comes without example configurations; --from-data makes one from a table")


def templates() -> dict[str, str]:
    """The examples by name, each with the comment that it begins with."""
    return {path.stem: _headline(path) for path in sorted(examples_folder().glob("*.yaml"))}


def _headline(path: Path) -> str:
    comments = (line.lstrip("# ").rstrip() for line in path.read_text().splitlines() if line.startswith("# "))
    return next((line for line in comments if not line.startswith("yaml-language-server")), "")


def write_template(name: str, target: Path) -> list[Path]:
    """Copy an example and the files that it needs into a folder; the paths in it then lead there.

    Raises:
        UsageError: when there is none of that name, or a file is already there.
    """
    source = examples_folder() / f"{name}.yaml"
    if not source.is_file():
        _, hint = suggestion(name, templates(), what="examples")
        raise UsageError(f"there is no example '{name}'; {hint or 'see torchlite init --list'}")
    written: list[Path] = []
    _copy(source, target, written)
    return written


def _copy(source: Path, target: Path, written: list[Path]) -> None:
    """A configuration with the files and folders that it names: bases, code and data."""
    text = source.read_text()
    for name in dict.fromkeys(re.findall(r"[\w./-]+\.(?:yaml|py|csv|txt)\b", _without_comments(text))):
        needed = (source.parent / name).resolve()
        if not needed.is_file():
            continue
        text = text.replace(name, needed.name)
        if needed.suffix == ".yaml":
            if target / needed.name not in written:
                _copy(needed, target, written)
        elif target / needed.name not in written:
            write_new(target / needed.name, needed.read_bytes())
            written.append(target / needed.name)
    for name in dict.fromkeys(re.findall(r"\b(?:root|val|test): ([\w./-]+)", _without_comments(text))):
        folder = (source.parent / name).resolve()
        if folder.is_dir():
            text = text.replace(name, folder.name)
            for needed in (path for path in folder.rglob("*") if path.is_file()):
                write_new(target / folder.name / needed.relative_to(folder), needed.read_bytes())
            written.append(target / folder.name)
    write_new(target / source.name, text.encode())
    written.append(target / source.name)


def _without_comments(text: str) -> str:
    return re.sub(r"(^|\s)#.*", "", text)


def write_new(path: Path, content: bytes) -> None:
    """Write a file that is not there yet.

    Raises:
        UsageError: when it is there with another content, or can't be written.
    """
    if path.exists() and path.read_bytes() != content:
        raise UsageError(f"'{path}' is already there; remove it or choose another folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, [content])
    except OSError as error:
        raise UsageError(f"cannot write '{path}': {error.strerror}") from None


@dataclass
class Inferred:
    """A configuration made from a table.

    Attributes:
        text: the configuration.
        notes: what was taken for what, and why.
    """

    text: str
    notes: list[str] = field(default_factory=list)


def from_table(path: Path, target: str | None) -> Inferred:
    """A configuration for the CSV file ``path``, whose column ``target`` (the last where None) is to be told.

    Raises:
        UsageError, DataError: when the file is not there or is no table, or has no such column.
    """
    header, rows = _read(path)
    wanted = target or header[-1]
    if wanted not in header:
        _, hint = suggestion(wanted, header, what="columns")
        raise UsageError(f"'{path}' has no column '{wanted}'; {hint or ''}")
    columns = {name: [row[i].strip() for row in rows] for i, name in enumerate(header)}
    answers = columns.pop(wanted)
    notes: list[str] = []
    told, loss, width = _target(wanted, answers, notes)
    inputs: dict[str, dict[str, object]] = {}
    for name, values in columns.items():
        found = _input(name, values, notes)
        if found is not None:
            inputs[name] = found
    texts = [name for name, column in inputs.items() if column["kind"] == "text"]
    if texts and len(inputs) > 1:
        longest = max(texts, key=lambda name: sum(map(len, columns[name])))
        numbers = {name: column for name, column in inputs.items() if column["kind"] != "text"}
        inputs = numbers or {longest: inputs[longest]}
        notes.append(f"texts do not go together with other columns: left out {', '.join(set(columns) - set(inputs))}")
        texts = [name for name in texts if name in inputs]
    if not inputs:
        raise DataError(f"'{path}' has no column that a model could use")
    return Inferred(_configuration(path, inputs, told, loss, width, bool(texts), len(rows)), notes)


def _configuration(
    path: Path,
    inputs: dict[str, dict[str, object]],
    told: dict[str, object],
    loss: str,
    width: int,
    text: bool,
    rows: int,
) -> str:
    if text:
        layers: list[object] = [{"Embedding": 64}, {"LSTM": {"hidden_size": 64, "output": "last"}}]
    else:
        layers = [{"Linear": 64}, "ReLU", {"Dropout": 0.1}, {"Linear": 32}, "ReLU"]
    config: dict[str, object] = {
        "version": 1,
        "name": re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-.") or "table",
        "seed": 42,
        "data": {
            "type": "csv",
            "train": str(path),
            "inputs": inputs,
            "target": told,
            "split": {"val": 0.2},
            "batch_size": min(64, max(4, rows // 20)),
        },
        "model": {"layers": [*layers, {"Linear": width}]},
        "loss": loss,
        "optim": {"type": "adamw", "lr": 1e-3, "weight_decay": 0.01},
        "train": {"epochs": 30},
        "early_stop": {"monitor": "val/loss", "patience": 8},
    }
    if loss == "cross_entropy":
        config["metrics"] = ["accuracy"]
    head = f"# Made from {path.name} by torchlite init: a beginning, to be changed.\n"
    return head + yaml.safe_dump(config, sort_keys=False, default_flow_style=None, width=110)


def _read(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            rows = [row for row, _ in zip(reader, range(_ROWS), strict=False) if row]
    except FileNotFoundError:
        raise UsageError(f"there is no file '{path}'") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"'{path}' cannot be read as CSV: {error}") from None
    if len(header) < 2 or not rows or any(len(row) != len(header) for row in rows):
        raise DataError(f"'{path}' is no table with a first line of names and at least two columns in every row")
    return header, rows


def _target(name: str, values: Sequence[str], notes: list[str]) -> tuple[dict[str, object], str, int]:
    """What stands under data.target, the loss, and how many numbers the model gives."""
    classes = sorted(set(values), key=lambda text: (not _is_number(text), float(text) if _is_number(text) else 0, text))
    if all(map(_is_number, values)) and (len(classes) > _MOST_CLASSES or any("." in text for text in values)):
        notes.append(f"'{name}' is told as a number")
        return {"column": name, "kind": "number"}, "mse", 1
    if "" in classes:
        raise DataError(
            f"'{name}' is empty in some rows, so it can't be what is to be told; choose another with --target"
        )
    if not 2 <= len(classes) <= max(_MOST_CLASSES, len(values) // 50) or "" in classes:
        raise DataError(
            f"'{name}' has {len(classes)} different values: neither a number nor a class; choose with --target"
        )
    notes.append(f"'{name}' is told as one of {len(classes)} classes")
    return {"column": name, "kind": "class", "classes": classes}, "cross_entropy", len(classes)


def _input(name: str, values: Sequence[str], notes: list[str]) -> dict[str, object] | None:
    known = [text for text in values if text]
    counts = Counter(known)
    numeric = bool(known) and all(map(_is_number, known))
    if len(counts) < 2:
        notes.append(f"'{name}' left out: it is always the same")
        return None
    if numeric and len(counts) == len(values) and _counts_up(known):
        notes.append(f"'{name}' left out: it numbers the rows")
        return None
    if numeric:
        return {"kind": "number"}
    if len(counts) <= _MOST_CLASSES:
        return {"kind": "category", "values": sorted(counts)}
    if sum(len(text.split()) for text in known) >= _WORDS_OF_TEXT * len(known):
        return {"kind": "text", "vocab": 5000, "max_len": 64}
    notes.append(f"'{name}' left out: {len(counts)} different values, too many for a category and too short for a text")
    return None


def _counts_up(values: Sequence[str]) -> bool:
    numbers = [float(text) for text in values]
    return all(b - a == 1 for a, b in pairwise(numbers))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
