"""What a trained model is asked about: splits, tables, arrays, lines of JSON, images and sounds, as samples."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from torchlite.audio.wav import read_wav
from torchlite.errors import DataError, FormatError, UsageError
from torchlite.serialization.npz import read_npz
from torchlite.train.config.folders import AudioFolder, Folder, ImageFolder
from torchlite.train.config.load import data_card
from torchlite.train.config.own_data import CsvData
from torchlite.train.data import Samples, load_split, samples_of_array, samples_of_files, samples_of_rows, table_encoder
from torchlite.train.folders import files_in
from torchlite.train.trained import Trained
from torchlite.vision.images import read_image

Array = np.ndarray[Any, Any]

SPLITS = ("train", "val", "test")
STDIN = "-"
_SOUNDS = AudioFolder.suffixes
_FILES = ImageFolder.suffixes | _SOUNDS


@dataclass(frozen=True)
class Inputs:
    """Samples, and the files that they come from where each has its own."""

    samples: Samples
    files: tuple[str, ...] = ()


def read_inputs(trained: Trained, source: str, stdin: Any) -> Inputs:
    """What is to be predicted: a split of the run's data, a file or folder, or standard input.

    Data of a table is CSV with the columns of the inputs. Of other data ``.npy`` and ``.npz`` files hold an array
    (N, *shape of a sample*) (the one called ``inputs``, or the only one), lines of JSON one sample each, in the numbers
    that the dataset has, and images and recordings one sample each, those below a folder in the order of their names; the
    run's transforms convert them.

    Raises:
        UsageError: when there is no such file or split. DataError: when it holds something else.
    """
    config, path = trained.config, Path(source)
    if source in SPLITS and not path.exists():
        return Inputs(load_split(config, source))
    if source == STDIN:
        text: str = stdin.read()
    elif path.is_dir():
        return _of_files(trained, _files_below(trained, path))
    elif not path.is_file():
        raise UsageError(f"there is no file '{source}', nor a split of that name ({', '.join(SPLITS)})")
    elif path.suffix in (".npy", ".npz"):
        return Inputs(_samples(trained, _array(path), source))
    elif path.suffix.lower() in _endings(trained):
        return _of_files(trained, [path])
    else:
        text = read_lines(path)
    if isinstance(config.data, CsvData):
        return Inputs(samples_of_rows(config, table_encoder(config), _rows(text, config.data, source)))
    return Inputs(_samples(trained, _json_lines(text, source), source))


def read_lines(path: Path) -> str:
    """The text of a file.

    Raises:
        DataError: where it is none.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"'{path}' is no text in UTF-8, nor a file of arrays, an image or a sound: {error}") from None


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
    return samples_of_array(trained.config, converted)


# Images and recordings


def _endings(trained: Trained) -> frozenset[str]:
    """How the names of files end that may be samples."""
    data = trained.config.data
    return data.suffixes if isinstance(data, Folder) else _FILES


def _files_below(trained: Trained, folder: Path) -> list[Path]:
    endings = _endings(trained)
    found = files_in(folder, endings)
    if not found:
        raise DataError(f"'{folder}' holds no files that end in {', '.join(sorted(endings))}")
    return found


def _of_files(trained: Trained, files: list[Path]) -> Inputs:
    names = tuple(map(str, files))
    if isinstance(trained.config.data, Folder):
        return Inputs(samples_of_files(trained.config, files), names)
    read = [_recording(trained, path) if path.suffix.lower() in _SOUNDS else _image(trained, path) for path in files]
    return Inputs(_samples(trained, np.stack(read), str(files[0].parent)), names)


def _image(trained: Trained, path: Path) -> Array:
    """An image in the size, channels and range of those that the model was trained on."""
    card = data_card(trained.config.data)
    if isinstance(trained.config.data, CsvData) or len(card.input.shape) != 3 or card.input.shape[0] not in (1, 3):
        raise DataError(f"'{path}' is an image, the model was trained on arrays of shape {tuple(card.input.shape)}")
    channels, height, width = card.input.shape
    scaled = read_image(path, (height, width), channels).astype(np.float32) * (card.scale / 255)
    return scaled if np.dtype(card.input.dtype).kind == "f" else np.rint(scaled).astype(card.input.dtype)


def _recording(trained: Trained, path: Path) -> Array:
    """A waveform (1, T) of 16 bits."""
    shape = tuple(data_card(trained.config.data).input.shape)
    waveform = read_wav(path)[None]
    if waveform.shape != shape:
        raise DataError(f"'{path}' holds a waveform of shape {waveform.shape}, the model was trained on {shape}")
    return waveform
