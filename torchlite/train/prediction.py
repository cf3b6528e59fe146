"""What a trained model says of new inputs, as records."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from torchlite import backends
from torchlite.autograd.grad_mode import no_grad
from torchlite.errors import DataError, FormatError, UsageError
from torchlite.serialization.npz import read_npz
from torchlite.train.check import pipeline
from torchlite.train.config.folders import Folder
from torchlite.train.config.load import data_card
from torchlite.train.config.own_data import CsvData, TextData
from torchlite.train.config.schema import Config
from torchlite.train.data import Samples, batches, in_order, load_split, samples_of_files, samples_of_rows
from torchlite.train.folders import files_in
from torchlite.train.precision import mixed
from torchlite.train.trained import Trained

Array = np.ndarray[Any, Any]
Record = dict[str, Any]

SPLITS = ("train", "val", "test")
STDIN = "-"


def read_inputs(trained: Trained, source: str, stdin: Any) -> Samples:
    """What is to be predicted: a split of the run's data, a file, or standard input.

    Data of a table is CSV with the columns of the inputs; of data in folders, a file or a folder.
    Of other data ``.npy`` and ``.npz`` files hold an array
    (N, *shape of a sample*) (the one called ``inputs``, or the only one), and lines of JSON one sample each, in the numbers
    that the dataset has, which the run's transforms convert.

    Raises:
        UsageError: when there is no such file or split. DataError: when it holds something else.
    """
    config = trained.config
    if isinstance(config.data, TextData):
        raise UsageError("a model of text predicts the next character: sample_text under callbacks lets it write")
    if source in SPLITS and not Path(source).exists():
        return load_split(config, source)
    if isinstance(config.data, Folder) and (
        Path(source).is_dir() or Path(source).suffix.lower() in config.data.suffixes
    ):
        return _of_files(config, config.data, Path(source))
    if source == STDIN:
        text: str = stdin.read()
    elif not Path(source).is_file():
        raise UsageError(f"there is no file '{source}', nor a split of that name ({', '.join(SPLITS)})")
    elif Path(source).suffix in (".npy", ".npz"):
        return _samples(trained, _array(Path(source)), source)
    else:
        try:
            text = Path(source).read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(f"'{source}' is no text in UTF-8, nor an .npy or .npz file: {error}") from None
    if isinstance(config.data, CsvData):
        return samples_of_rows(config, _rows(text, config.data, source))
    return _samples(trained, _json_lines(text, source), source)


def _of_files(config: Config, data: Folder, source: Path) -> Samples:
    if not source.exists():
        raise UsageError(f"there is no file '{source}'")
    paths = files_in(source, data) if source.is_dir() else [source]
    if not paths:
        raise DataError(f"'{source}' holds no files that end in {', '.join(sorted(data.suffixes))}")
    return samples_of_files(config, paths)


def _array(path: Path) -> Array:
    try:
        if path.suffix == ".npy":
            return np.asarray(np.load(path, allow_pickle=False))
        arrays = read_npz(path)
    except (ValueError, FormatError) as error:
        raise DataError(f"'{path}' cannot be read: {error}") from None
    if "inputs" not in arrays and len(arrays) != 1:
        raise DataError(f"'{path}' holds {', '.join(arrays)}; call the array 'inputs'")
    return np.asarray(arrays["inputs"] if "inputs" in arrays else next(iter(arrays.values())))


def _json_lines(text: str, source: str) -> Array:
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                rows.append(np.asarray(json.loads(line), np.float64))
            except (ValueError, TypeError) as error:
                raise DataError(f"'{source}', line {number}: expected a list of numbers as JSON: {error}") from None
    if len({row.shape for row in rows}) != 1:
        raise DataError(f"'{source}' holds {'no samples' if not rows else 'samples of different shapes'}")
    return np.stack(rows)


def _rows(text: str, data: CsvData, source: str) -> list[dict[str, str]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    missing = [name for name in data.inputs if name not in (reader.fieldnames or [])]
    if missing:
        raise DataError(f"'{source}' has no column {', '.join(map(repr, missing))}")
    rows = list(reader)
    if not rows or any(None in row or None in row.values() for row in rows):
        raise DataError(f"'{source}' has no rows, or one with another number of fields than the first line")
    return rows


def _samples(trained: Trained, inputs: Array, source: str) -> Samples:
    card = data_card(trained.config.data)
    if inputs.shape[1:] != card.input.shape:
        raise DataError(
            f"'{source}' holds samples of shape {inputs.shape[1:]}, the model was trained on {card.input.shape}"
        )
    converted = inputs.astype(card.input.dtype)
    if not np.array_equal(converted, inputs):
        raise DataError(f"'{source}' holds numbers that are not {card.input.dtype}, as those of the training data are")
    targets = np.zeros((len(inputs), *card.target.shape), card.target.dtype)
    return Samples(converted, targets, pipeline(trained.config, "eval"), trained.config.seed)


def outputs(trained: Trained, samples: Samples) -> Iterator[Array]:
    """What the model makes of the samples, batch by batch, in their order."""
    config = trained.config
    size = config.eval.batch_size or config.data.batch_size
    with no_grad(), mixed(config.train.precision, trained.device):
        for inputs, _ in batches(samples, in_order(samples, size), 0, trained.device):
            yield backends.to_numpy(trained.model(inputs).detach()._data).astype(np.float64)


def records(trained: Trained, batch: Array, first: int, topk: int) -> list[Record]:
    """One record a sample: what is predicted, how probable, and with ``topk`` above 1 the next best classes."""
    config = trained.config
    card = data_card(config.data)
    kind = config.data.target.kind if isinstance(config.data, CsvData) else "class"
    if kind == "number":
        assert isinstance(config.data, CsvData)
        values = np.expm1(batch[:, 0]) if config.data.target.transform == "log1p" else batch[:, 0]
        return [{"index": first + i, "prediction": float(value)} for i, value in enumerate(values)]
    if kind == "binary":
        assert isinstance(config.data, CsvData)
        classes = tuple(config.data.target.classes or ("0", "1"))
        yes = 1 / (1 + np.exp(-batch[:, 0]))
        probabilities = np.stack([1 - yes, yes], axis=1)
    else:
        classes = tuple(card.classes)
        shifted = np.exp(batch - batch.max(1, keepdims=True))
        probabilities = shifted / shifted.sum(1, keepdims=True)
    return [_ranked(first + i, row, classes, topk) for i, row in enumerate(probabilities)]


def _ranked(index: int, probabilities: Array, classes: tuple[str, ...], topk: int) -> Record:
    order = np.argsort(-probabilities, kind="stable")[: max(topk, 1)]
    record: Record = {
        "index": index,
        "prediction": classes[order[0]],
        "probability": float(probabilities[order[0]]),
        "probabilities": {name: float(p) for name, p in zip(classes, probabilities, strict=True)},
    }
    if topk > 1:
        record["top"] = [[classes[i], float(probabilities[i])] for i in order]
    return record
