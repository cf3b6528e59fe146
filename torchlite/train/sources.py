"""Reading data of one's own: rows of a CSV file and long texts, as arrays."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from torchlite.datasets import Arrays
from torchlite.errors import DataError, MissingDataError
from torchlite.train.config.folders import Folder
from torchlite.train.config.own_data import Column, CsvData, TextData, text_column
from torchlite.train.config.schema import Config
from torchlite.train.folders import check_files

Array = np.ndarray[Any, Any]
Rows = list[dict[str, str]]

PADDING, UNKNOWN = 0, 1
"""The tokens that are no word."""

_WORD = re.compile(r"\w+|[^\w\s]")


def read_rows(data: CsvData, folder: Path, split: str, also: Sequence[str] = ()) -> Rows:
    """The rows of a split's file, each with the columns that the configuration names, and those in ``also``.

    Raises:
        DataError: when the file is not there, has no such column, or a line has another number of fields than the first.
    """
    name = getattr(data, split, None)
    if name is None:
        raise DataError(f"the data has no split '{split}': name its file under data.{split}")
    wanted = list(dict.fromkeys((*data.inputs, data.target.column, *also)))
    try:
        with (folder / name).open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            missing = [column for column in wanted if column not in (reader.fieldnames or [])]
            if missing:
                raise DataError(
                    f"'{name}' has no column {', '.join(map(repr, missing))}; it has {', '.join(reader.fieldnames or ['none'])}"
                )
            rows = []
            for row in reader:
                if None in row or None in row.values():
                    raise DataError(f"'{name}', line {reader.line_num}: expected {len(reader.fieldnames or [])} fields")
                rows.append({column: row[column] for column in wanted})
    except FileNotFoundError:
        raise MissingDataError(f"there is no file '{folder / name}' (data.{split})") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"'{folder / name}' cannot be read: {error}") from None
    if not rows:
        raise DataError(f"'{name}' has no rows")
    return rows


class TableEncoder:
    """Rows as arrays; what it needs to know of the data (medians, words) it learns from the training rows alone."""

    def __init__(self, data: CsvData, training: Rows) -> None:
        self._data = data
        self._numbers: dict[str, tuple[float, float, float]] = {}
        self._words: dict[str, int] = {}
        for name, column in data.inputs.items():
            if column.kind == "number":
                self._numbers[name] = _learn(column, _numbers(training, name, column.transform))
        text = text_column(data)
        if text is not None:
            self._words = _vocabulary(self._texts(training, text), text.vocab)

    def encode(self, rows: Rows) -> Arrays:
        """Inputs (N, features) of float32, or tokens (N, max_len) of int64, with the targets."""
        return Arrays(self.encode_inputs(rows), self._targets(rows))

    def encode_inputs(self, rows: Rows) -> Array:
        """The inputs alone, of rows that need not have the target's column."""
        text = text_column(self._data)
        return self._tokens(rows, text) if text is not None else self._features(rows)

    def _features(self, rows: Rows) -> Array:
        parts = []
        for name, column in self._data.inputs.items():
            if column.kind == "category":
                values = column.values or []
                codes = _codes(rows, name, values, may_be_missing=True)
                parts.append(codes[:, None] == np.arange(len(values)))
            else:
                missing, mean, scale = self._numbers[name]
                numbers = _numbers(rows, name, column.transform)
                parts.append(((np.where(np.isnan(numbers), missing, numbers) - mean) / scale)[:, None])
        return np.concatenate(parts, axis=1).astype(np.float32)

    def _texts(self, rows: Rows, column: Column) -> list[list[str]]:
        name = next(name for name, one in self._data.inputs.items() if one is column)
        texts = (row[name].lower() if column.lower else row[name] for row in rows)
        return [_WORD.findall(text)[: column.max_len] for text in texts]

    def _tokens(self, rows: Rows, column: Column) -> Array:
        tokens = np.full((len(rows), column.max_len), PADDING, np.int64)
        for line, words in zip(tokens, self._texts(rows, column), strict=True):
            line[: len(words)] = [self._words.get(word, UNKNOWN) for word in words]
        return tokens

    def _targets(self, rows: Rows) -> Array:
        target = self._data.target
        if target.kind == "number":
            numbers = _numbers(rows, target.column, target.transform)
            if np.isnan(numbers).any():
                raise DataError(f"a row has no number in '{target.column}', the target")
            return numbers[:, None].astype(np.float32)
        codes = _codes(rows, target.column, target.classes or [], may_be_missing=False)
        return codes if target.kind == "class" else codes[:, None].astype(np.float32)


def _learn(column: Column, numbers: Array) -> tuple[float, float, float]:
    """What stands for a missing number, and the mean and scale of the column."""
    known = numbers[~np.isnan(numbers)]
    if column.impute == "zero" or not len(known):
        missing = 0.0
    else:
        missing = float(np.median(known) if column.impute == "median" else known.mean())
    if column.scale == "none":
        return missing, 0.0, 1.0
    filled = np.where(np.isnan(numbers), missing, numbers)
    return missing, float(filled.mean()), float(filled.std()) or 1.0


def _numbers(rows: Rows, name: str, transform: str) -> Array:
    found = np.empty(len(rows))
    for index, row in enumerate(rows):
        text = row[name].strip()
        try:
            found[index] = float(text) if text else np.nan
        except ValueError:
            raise DataError(f"row {index + 1} has {text!r} in '{name}', which is no number") from None
    return np.log1p(found) if transform == "log1p" else found


def _codes(rows: Rows, name: str, values: Sequence[str], *, may_be_missing: bool) -> Array:
    """The places of a column's values among those that are listed; -1 for a missing one."""
    places = {value: place for place, value in enumerate(values)}
    if may_be_missing:
        places[""] = -1
    codes = np.empty(len(rows), np.int64)
    for index, row in enumerate(rows):
        value = row[name].strip()
        if value not in places:
            raise DataError(f"row {index + 1} has {value!r} in '{name}'; the configuration lists {', '.join(values)}")
        codes[index] = places[value]
    return codes


def _vocabulary(texts: Sequence[Sequence[str]], size: int) -> dict[str, int]:
    """The most frequent words with their tokens; of words as frequent as each other, in the order of the alphabet."""
    counted = Counter(word for words in texts for word in words)
    ranked = sorted(counted.items(), key=lambda item: (-item[1], item[0]))[: size - 2]
    return {word: token for token, (word, _) in enumerate(ranked, start=2)}


def read_text(data: TextData, folder: Path, split: str) -> Arrays:
    """Stretches of a text, tokens (N, context), with the characters that follow each place as targets.

    Raises:
        DataError: when a file is not there or all of the text is shorter than one stretch.
    """
    names = data.files if split == "train" else getattr(data, split, None)
    if not names:
        raise DataError(f"the data has no split '{split}': name its files under data.{split}")
    parts = []
    for name in names:
        try:
            parts.append((folder / name).read_bytes())
        except FileNotFoundError:
            raise MissingDataError(f"there is no file '{folder / name}' (data.files)") from None
        except OSError as error:
            raise DataError(f"'{folder / name}' cannot be read: {error.strerror}") from None
    tokens = _characters(b"".join(parts), data.alphabet)
    count = (len(tokens) - 1) // data.context
    if count < 1:
        raise DataError(f"the text has {len(tokens)} characters, a stretch needs {data.context + 1}")
    shape = (count, data.context)
    inputs = tokens[: count * data.context].reshape(shape)
    return Arrays(inputs, tokens[1 : count * data.context + 1].reshape(shape))


def _characters(text: bytes, alphabet: str | None) -> Array:
    if alphabet is None:
        return np.frombuffer(text, np.uint8).astype(np.int64)
    places = {character: place for place, character in enumerate(alphabet)}
    return np.array([places[one] for one in text.decode("utf-8", errors="replace") if one in places], np.int64)


def check_own(config: Config, split: str) -> None:
    """Read a split of data of one's own, of files in folders their headers, to see whether it is what the configuration says.

    Raises:
        DataError: where it is something else.
    """
    data, folder = config.data, config.path.parent
    if isinstance(data, TextData):
        read_text(data, folder, split)
    elif isinstance(data, Folder):
        check_files(data, folder, split)
    else:
        assert isinstance(data, CsvData)
        rows = read_rows(data, folder, split)
        TableEncoder(data, rows).encode(rows)
