"""``metrics.csv``: the rows of ``metrics.jsonl`` as a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torchlite.serialization.atomic import write_file

Row = dict[str, Any]
FIRST_COLUMNS = ("step", "epoch", "loss", "lr")


class MetricsTable:
    """A CSV file of rows with any keys: where there is a new key, the file is written again with one more column."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns: list[str] = []

    def extend(self, rows: Sequence[Row]) -> bool:
        """Add rows, unless they have a new key or this is the first time; whether they were added."""
        if not self._columns or any(row.keys() - set(self._columns) for row in rows):
            return False
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write("".join(map(self._line, rows)))
        return True

    def rewrite(self, rows: Sequence[Row]) -> None:
        """Make the file of these rows."""
        self._columns = list(dict.fromkeys([*FIRST_COLUMNS, *(key for row in rows for key in row)]))
        write_file(self.path, [line.encode() for line in (_text(self._columns), *map(self._line, rows))])

    def _line(self, row: Row) -> str:
        return _text([row.get(column, "") for column in self._columns])


def _text(values: Sequence[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue()
