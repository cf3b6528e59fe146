"""Data that is made on the spot."""

from pathlib import Path

import numpy as np
import pytest

from torchlite import datasets
from torchlite.datasets.made_up import FOLDERS, TABLES

BUNDLED = Path(datasets.__file__).parent / "bundled"


@pytest.mark.parametrize("name", TABLES)
def test_the_bundled_tables_are_those_that_are_made(name: str) -> None:
    assert (BUNDLED / name).read_text(encoding="utf-8") == TABLES[name]()


@pytest.mark.parametrize("name", FOLDERS)
def test_the_bundled_folders_are_those_that_are_made(name: str) -> None:
    folder = BUNDLED / name
    there = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*")}
    assert there == FOLDERS[name]()


def test_tones_are_the_same_every_time_and_differ_by_split() -> None:
    first, again, other = (datasets.load("tones", split) for split in ("test", "test", "train"))
    assert np.array_equal(first.inputs, again.inputs)
    assert not np.array_equal(first.inputs, other.inputs[:250])
    assert set(first.targets.tolist()) == set(range(5))
    card = datasets.card("tones")
    scaled = other.inputs / card.scale
    assert abs(scaled.mean() - card.mean[0]) < 0.01
    assert abs(scaled.std() - card.std[0]) < 0.01
