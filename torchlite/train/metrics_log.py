"""``metrics.jsonl``: one JSON object a line, only what the run decides (no times), so that equal runs give equal files.

``metrics.csv`` beside it holds the same rows as a table, up to date whenever they are made durable.
"""

from __future__ import annotations

import json
import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from torchlite.errors import CheckpointError
from torchlite.train.metrics_csv import MetricsTable

_BLOCK = 8192


class MetricsLog:
    """Appends rows to a file that resuming can cut back to where a checkpoint was taken.

    A full disk does not end the training: rows wait until there is room, and `warning` says so. They must be in the
    file before a checkpoint counts them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.warning: str | None = None
        self._file = path.open("ab", buffering=0)
        self._waiting = b""
        self._table = MetricsTable(path.with_suffix(".csv"))
        self._untabled: list[dict[str, Any]] = []

    def append(self, row: dict[str, Any]) -> None:
        """Add a row."""
        plain = plain_row(row)
        self._untabled.append(plain)
        self._waiting += json.dumps(plain).encode() + b"\n"
        if len(self._waiting) >= _BLOCK:
            try:
                self._write()
            except OSError as error:
                self.warning = f"{self.path} could not be written for a while ({error.strerror}); no row is lost"

    def sync(self) -> int:
        """Make everything durable; the length of the file in bytes.

        Raises:
            CheckpointError: when it can't be.
        """
        try:
            self._write()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise CheckpointError(
                f"{self.path} can't be written: {error.strerror}, so no checkpoint was made; earlier ones are intact. "
                "Make room, then resume."
            ) from error
        self._tabulate()
        return self._file.tell()

    def cut(self, length: int) -> None:
        """Forget what was written, or is to be, behind the first ``length`` bytes."""
        os.truncate(self.path, length)
        self._file.seek(0, os.SEEK_END)
        self._waiting, self._untabled = b"", []
        self._table = MetricsTable(self._table.path)  # which is made anew the next time

    def close(self) -> None:
        """Write what is left, as far as there is room."""
        with suppress(OSError):
            self._write()
            self._tabulate()
        self._file.close()

    def _tabulate(self) -> None:
        """Bring the table up to date; one that can't be written is made anew from this file the next time."""
        try:
            if not self._table.extend(self._untabled):
                self._table.rewrite(read_metrics(self.path))
        except OSError as error:
            self._table = MetricsTable(self._table.path)
            self.warning = f"{self._table.path} could not be written for a while ({error.strerror})"
        self._untabled = []

    def _write(self) -> None:
        while self._waiting:
            written = self._file.write(self._waiting)
            self._waiting = self._waiting[written:]


def plain_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row as it is written: NaN and infinities are strings, because JSON has no numbers for them."""
    return {k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics file; a last line that a crash cut short is left out."""
    rows = []
    for line in path.read_bytes().split(b"\n")[:-1]:
        rows.append(json.loads(line))
    return rows
