"""Parts of a split by what a column of the table, or the class, says of each sample."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from torchlite.errors import UsageError
from torchlite.train.config.own_data import CsvData
from torchlite.train.config.schema import Config
from torchlite.train.data import column_of_split

Array = np.ndarray[Any, Any]

CLASS = "class"
MISSING = "(missing)"
_MOST, _PARTS = 12, 4


def slices_of(config: Config, split: str, column: str, targets: Array, classes: tuple[str, ...]) -> dict[str, Array]:
    """For each value of a column the places of its samples; numbers with many values are cut into quarters of the samples.

    ``class`` stands for the class of each sample, where there is no column of that name.

    Raises:
        UsageError: where there is no such column.
    """
    data = config.data
    if isinstance(data, CsvData):
        names = column_of_split(config, split, column, optional=column == CLASS and bool(classes))
        if names is not None:
            return _by_value([name.strip() or MISSING for name in names])
    if column != CLASS or not classes:
        known = "class" if classes else "none: neither a table nor classes"
        raise UsageError(f"--slices {column}: there is no such column; there is {known}")
    labels = targets.reshape(len(targets)).astype(np.int64)
    return {name: np.flatnonzero(labels == i) for i, name in enumerate(classes)}


def _by_value(values: list[str]) -> dict[str, Array]:
    distinct = sorted(set(values))
    numbers = _numbers(values)
    if numbers is not None:
        if len(distinct) > _MOST:
            return _by_quantile(numbers)
        distinct.sort(key=lambda value: (value == MISSING, 0.0 if value == MISSING else float(value)))
    array = np.array(values)
    return {value: np.flatnonzero(array == value) for value in distinct}


def _numbers(values: list[str]) -> Array | None:
    """The values as numbers, NaN where one is missing; None where they are none."""
    try:
        return np.array([np.nan if value == MISSING else float(value) for value in values])
    except ValueError:
        return None


def _by_quantile(numbers: Array) -> dict[str, Array]:
    edges = np.unique(np.nanquantile(numbers, np.linspace(0, 1, _PARTS + 1)))
    found = {}
    for i, (low, high) in enumerate(pairwise(edges)):
        above = numbers >= low if i == 0 else numbers > low
        found[f"{low:g}..{high:g}"] = np.flatnonzero(above & (numbers <= high))
    missing = np.flatnonzero(np.isnan(numbers))
    return found | ({MISSING: missing} if missing.size else {})
