"""What is known about each dataset before any of its data is read: the cards.

This module imports no NumPy: the validation of a configuration reads cards and nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from torchlite.errors import DataError

PACKAGE_FOLDER = Path(__file__).parent
_CARDS_FOLDER = PACKAGE_FOLDER / "cards"


@dataclass(frozen=True)
class ArraySpec:
    """The shape and dtype of one sample; an image is (channels, height, width)."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Unpacked:
    """What a packed file unpacks to: its name, and where they are known its size and checksum."""

    name: str
    size_bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class File:
    """One file of a dataset: the split ("all" when it holds every split) and role of its contents,
    where to fetch it (`urls`, mirrors in order of preference) and what it must be.

    At least one of `sha256` and `md5` is given; when both are, both must match.
    """

    name: str
    split: str
    role: str
    size_bytes: int
    urls: tuple[str, ...]
    sha256: str | None = None
    md5: str | None = None
    unpacked: Unpacked | None = None


@dataclass(frozen=True)
class Card:
    """One dataset of the catalogue.

    `splits` maps a split to its number of samples. `mean` and `std` are per channel, of the training
    split's pixels divided by `scale` (the largest value a pixel can have). `folders` are places of the
    system where the files may already lie. `sample_rate` is that of sounds.
    """

    name: str
    title: str
    homepage: str
    licence: str
    citation: str
    format: str
    input: ArraySpec
    scale: int
    classes: tuple[str, ...]
    splits: dict[str, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    folders: tuple[Path, ...]
    files: tuple[File, ...]
    sample_rate: int | None = None

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.classes)

    @property
    def target(self) -> ArraySpec:
        """The shape and dtype of a sample's target: the index of its class."""
        return ArraySpec((), "int64")

    def files_of(self, split: str) -> tuple[File, ...]:
        """The files that hold the samples of `split`.

        Raises:
            DataError: the dataset has no such split.
        """
        if split not in self.splits:
            raise DataError(_unknown(f"split of {self.name}", split, tuple(self.splits)))
        return tuple(file for file in self.files if file.split in (split, "all"))


@cache
def names() -> tuple[str, ...]:
    """The names of all datasets of the catalogue, sorted."""
    return tuple(sorted(path.stem for path in _CARDS_FOLDER.glob("*.yaml")))


@cache
def card(name: str) -> Card:
    """The card of the dataset called `name`.

    Raises:
        DataError: there is no such dataset; the message names the closest ones.

    >>> card("fashion_mnist").num_classes
    10
    """
    if name not in names():
        raise DataError(_unknown("dataset", name, names()))
    path = _CARDS_FOLDER / f"{name}.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    try:
        return parse_card(name, document)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: the card is not well-formed ({type(error).__name__}: {error})") from error


def parse_card(name: str, document: Mapping[str, Any]) -> Card:
    """A `Card` from the mapping that its YAML file holds.

    Raises:
        KeyError, TypeError, ValueError: a field is missing, unknown or cannot be what it must.
    """
    fields = dict(document)
    mirrors = tuple(fields.pop("mirrors"))
    spec = fields.pop("input")
    return Card(
        name=name,
        input=ArraySpec(tuple(int(size) for size in spec["shape"]), str(spec["dtype"])),
        classes=tuple(str(label) for label in fields.pop("classes")),
        mean=tuple(float(value) for value in fields.pop("mean")),
        std=tuple(float(value) for value in fields.pop("std")),
        splits={str(split): int(count) for split, count in fields.pop("splits").items()},
        folders=tuple(PACKAGE_FOLDER / folder for folder in fields.pop("folders")),
        files=tuple(_parse_file(file, mirrors) for file in fields.pop("files")),
        **fields,
    )


def _parse_file(document: Mapping[str, Any], mirrors: tuple[str, ...]) -> File:
    fields = dict(document)
    if "sha256" not in fields and "md5" not in fields:
        raise ValueError(f"file {fields['name']!r} has neither sha256 nor md5")
    unpacked = fields.pop("unpacked", None)
    return File(
        urls=tuple(mirror + fields["name"] for mirror in mirrors),
        unpacked=Unpacked(**unpacked) if unpacked else None,
        **fields,
    )


def _unknown(kind: str, name: str, known: tuple[str, ...]) -> str:
    close = get_close_matches(str(name), known, n=1)
    suggestion = f"; did you mean {close[0]!r}?" if close else ""
    return f"unknown {kind} {name!r}{suggestion} (known: {', '.join(known)})"
