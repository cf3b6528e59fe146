"""What a split of data holds, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from torchlite import datasets
from torchlite.datasets import Arrays, Card
from torchlite.errors import MissingDataError
from torchlite.train.config.load import data_card
from torchlite.train.config.schema import Config
from torchlite.train.data import load_split, load_splits

_BINS = 8


def inspect_dataset(name: str, split: str, *, download: bool) -> dict[str, Any]:
    """A split of a dataset of the catalogue, ready to be written as JSON."""
    arrays = datasets.load(name, split, download=download)
    return _report(name, split, arrays, datasets.card(name).classes)


def inspect_config(config: Config, split: str) -> dict[str, Any]:
    """A split as a configuration divides it, before its transforms."""
    card = data_card(config.data)
    samples = load_splits(config).train if split == "train" else load_split(config, split)
    classes = card.classes if card.target.shape == () else ()
    return _report(
        f"{config.data.type} ({config.path})", split, Arrays(np.asarray(samples.inputs), samples.targets), classes
    )


def is_here(card: Card) -> bool:
    """Whether every file of a dataset is on this machine, whole."""
    try:
        for split in card.splits:
            datasets.load(card.name, split, download=False)
    except MissingDataError:
        return False
    return True


def _report(name: str, split: str, arrays: Arrays, classes: Sequence[str]) -> dict[str, Any]:
    inputs = arrays.inputs
    counts, edges = np.histogram(inputs, _BINS)
    labels: Any = np.bincount(arrays.targets, minlength=len(classes)) if classes else []
    return {
        "name": name,
        "split": split,
        "samples": len(inputs),
        "shape": list(inputs.shape[1:]),
        "dtype": str(inputs.dtype),
        "min": float(inputs.min()),
        "max": float(inputs.max()),
        "mean": float(inputs.mean(dtype=np.float64)),
        "std": float(inputs.std(dtype=np.float64)),
        "histogram": [[float(low), int(count)] for low, count in zip(edges[:-1], counts, strict=True)],
        "classes": {name: int(count) for name, count in zip(classes, labels, strict=True)},
        "fingerprint": datasets.fingerprint(arrays),
    }
