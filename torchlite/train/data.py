"""The data of a run: splits, transforms, and batches in an order that depends on the seed and the epoch alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from torchlite import datasets
from torchlite._tensor import Tensor
from torchlite.backends.philox import random_words
from torchlite.datasets import Arrays
from torchlite.devices import Device
from torchlite.errors import DataError, MissingDataError
from torchlite.ops.exchange import from_numpy
from torchlite.ops.generator import Generator
from torchlite.train.check import mixing_of, pipeline
from torchlite.train.config.folders import Folder
from torchlite.train.config.load import data_card
from torchlite.train.config.own_data import CsvData, TextData
from torchlite.train.config.schema import Config
from torchlite.train.folders import Files, read_folder
from torchlite.train.mixing import Mixing
from torchlite.train.sources import Rows, TableEncoder, read_rows, read_text
from torchlite.utils.data import DataLoader, Dataset
from torchlite.vision.transforms import Compose, sample_keys

SPLIT_STREAM, SHUFFLE_STREAM = 1, 2
Array = np.ndarray[Any, Any]


class Samples(Dataset[Any]):
    """Arrays, or files, with the transforms of a stage; what random ones do to a sample depends on (seed, epoch, index)."""

    def __init__(
        self, inputs: Array | Files, targets: Array, transforms: Compose, seed: int, mixing: Mixing | None = None
    ) -> None:
        self.inputs = inputs
        self.targets = targets
        self.transforms = transforms
        self.seed = seed
        self.mixing = mixing
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        inputs, targets = self.get_batch([index])
        return inputs[0], targets[0]

    def get_batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The samples at ``indices`` as one batch."""
        chosen = np.asarray(indices)
        keys = sample_keys(self.seed, self.epoch, chosen)
        batch, targets = self.transforms(self.inputs[chosen], keys), self.targets[chosen]
        if self.mixing is not None:
            batch, targets = self.mixing(batch, targets, keys)
        return from_numpy(np.ascontiguousarray(batch)), from_numpy(targets)


@dataclass
class Splits:
    """The data of a run.

    Attributes:
        train: training samples.
        val: validation samples; None without a validation split.
        fingerprint: SHA-256 of the training split as it was read.
    """

    train: Samples
    val: Samples | None
    fingerprint: str


def load_splits(config: Config) -> Splits:
    """Read the training split and divide it; validation data of its own is read instead where there is some.

    Raises:
        DataError: when files are missing; it says which and where to put them.
    """
    arrays = _read(config, "train")
    parts = _parts(config, arrays.targets)

    def samples(part: str, stage: str) -> Samples:
        chosen = parts[part]
        inputs = arrays.inputs.subset(chosen) if isinstance(arrays.inputs, Files) else arrays.inputs[chosen]
        mixing = mixing_of(config) if stage == "train" else None
        return Samples(inputs, arrays.targets[chosen], pipeline(config, stage), config.seed, mixing)

    val = None
    if len(parts["val"]):
        val = samples("val", "eval")
    elif getattr(config.data, "val", None):
        val = _evaluated(config, *_read(config, "val"))
    return Splits(samples("train", "train"), val, _fingerprint(arrays))


def load_split(config: Config, split: str) -> Samples:
    """The samples of a split ("train", "val" or another that the dataset has), with the transforms of evaluation."""
    if split == "val":
        splits = load_splits(config)
        if splits.val is not None:
            return splits.val
    return _evaluated(config, *_read(config, split))


def _evaluated(config: Config, inputs: Array | Files, targets: Array) -> Samples:
    return Samples(inputs, targets, pipeline(config, "eval"), config.seed)


def _read(config: Config, split: str) -> Arrays:
    """A split, all of it; what of a table is learnt from rows comes from those that are trained on."""
    data, folder = config.data, config.path.parent
    if isinstance(data, CsvData):
        encoder, rows = _encoder(config, data)
        return encoder.encode(rows if split == "train" else read_rows(data, folder, split))
    if isinstance(data, TextData):
        return read_text(data, folder, split)
    if isinstance(data, Folder):
        return read_folder(data, folder, split)
    return datasets.load(data.type, split, root=data.root, download=data.download)


def _fingerprint(arrays: Arrays) -> str:
    if isinstance(arrays.inputs, Files):
        return arrays.inputs.fingerprint(arrays.targets)
    return datasets.fingerprint(arrays)


def _encoder(config: Config, data: CsvData) -> tuple[TableEncoder, Rows]:
    """What encodes rows as those that are trained on were, and the rows of the training split."""
    rows = read_rows(data, config.path.parent, "train")
    parts = _parts_of_rows(config, data, rows)
    return TableEncoder(data, [rows[i] for i in parts["train"]]), rows


def samples_of_files(config: Config, paths: Sequence[Path]) -> Samples:
    """Files of the kind that the data has, without their class; every target is 0."""
    assert isinstance(config.data, Folder)
    return _evaluated(config, Files(config.data, tuple(paths)), np.zeros(len(paths), np.int64))


def column_of_split(config: Config, split: str, column: str, *, optional: bool = False) -> list[str] | None:
    """What a column of a table holds in each sample of a split, as it is written there.

    Raises:
        DataError: when there is no such column, unless it is ``optional``; None then.
    """
    data = config.data
    assert isinstance(data, CsvData)
    held_out = split == "val"
    try:
        rows = read_rows(data, config.path.parent, "train" if held_out else split, also=[column])
    except MissingDataError:
        raise
    except DataError:
        if optional:
            return None
        raise
    chosen = _parts_of_rows(config, data, rows)["val"] if held_out else range(len(rows))
    return [rows[i][column] for i in chosen]


def samples_of_array(config: Config, inputs: Array) -> Samples:
    """Samples of the shape and dtype that the data has, without their target; every target is 0."""
    card = data_card(config.data)
    return _evaluated(config, inputs, np.zeros((len(inputs), *card.target.shape), card.target.dtype))


def table_encoder(config: Config) -> TableEncoder:
    """What encodes rows as those of the table that were trained on, which are read for it."""
    assert isinstance(config.data, CsvData)
    return _encoder(config, config.data)[0]


def samples_of_rows(config: Config, encoder: TableEncoder, rows: Rows) -> Samples:
    """Rows of a table without their target; every target is 0."""
    inputs = encoder.encode_inputs(rows)
    return _evaluated(config, inputs, np.zeros(len(inputs), np.int64))


def _parts(config: Config, labels: Array) -> dict[str, Array]:
    """The places of the samples that are trained on and of those that are held out; ``labels`` are the samples' classes."""
    split, n = config.data.split, len(labels)
    held_out = int(n * (split.val or 0))
    if split.by == "position":
        return {"val": np.arange(n - held_out, n), "train": np.arange(n - held_out)}
    order = _permutation(n, config.seed if split.seed is None else split.seed, SPLIT_STREAM, 0)
    if split.stratify and labels.ndim == 1:
        by_class = order[labels[order].argsort(kind="stable")]
        steps = np.arange(n + 1) * held_out // n  # rises at every place that is held out: evenly, so in every class
        chosen = np.diff(steps).astype(bool)
        return {"val": np.sort(by_class[chosen]), "train": np.sort(by_class[~chosen])}
    return {"val": np.sort(order[:held_out]), "train": np.sort(order[held_out:])}


def _parts_of_rows(config: Config, data: CsvData, rows: Rows) -> dict[str, Array]:
    column = data.target.column
    return _parts(config, np.array(["" if data.target.kind == "number" else row[column].strip() for row in rows]))


def _permutation(n: int, seed: int, stream: int, epoch: int) -> Array:
    keys = random_words(np, 2 * n, seed=seed, stream=stream, epoch=epoch).view(np.uint64)
    return keys.argsort(kind="stable")


def batch_indices(n: int, batch_size: int, drop_last: bool, seed: int, epoch: int) -> list[Array]:
    """The batches of an epoch as indices: a permutation that (seed, epoch) decide, cut into pieces."""
    order = _permutation(n, seed, SHUFFLE_STREAM, epoch)
    count = n // batch_size if drop_last else -(-n // batch_size)
    return [order[i * batch_size : (i + 1) * batch_size] for i in range(count)]


def batches(
    samples: Samples, indices: Sequence[Array], workers: int, device: Device
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches that ``indices`` name, in that order, on ``device``."""
    # A generator of its own, because every iteration draws a seed for its workers: from the default generator, that
    # would make a resumed run, which iterates once more, a different one.
    own = Generator()
    loader: Any = DataLoader(samples, batch_sampler=[i.tolist() for i in indices], num_workers=workers, generator=own)
    for inputs, targets in loader:
        yield inputs.to(device), targets.to(device)


def in_order(samples: Samples, batch_size: int) -> list[Array]:
    """All samples in their own order, as indices of batches."""
    n = len(samples)
    return [np.arange(start, min(start + batch_size, n)) for start in range(0, n, batch_size)]
