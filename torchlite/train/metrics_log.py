"""``metrics.jsonl``: one JSON object a line, only what the run decides (no times), so that equal runs give equal files."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any


class MetricsLog:
    """Appends rows to a file that resuming can cut back to where a checkpoint was taken."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("ab")

    def append(self, row: dict[str, Any]) -> None:
        """Add a row; NaN and infinities are written as strings, because JSON has no numbers for them."""
        plain = {k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
        self._file.write(json.dumps(plain).encode() + b"\n")

    def sync(self) -> int:
        """Make everything durable; the length of the file in bytes."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def cut(self, length: int) -> None:
        """Forget what was written behind the first ``length`` bytes."""
        self._file.flush()
        os.truncate(self.path, length)
        self._file.seek(0, os.SEEK_END)

    def close(self) -> None:
        """Write what is left."""
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics file; a last line that a crash cut short is left out."""
    rows = []
    for line in path.read_bytes().split(b"\n")[:-1]:
        rows.append(json.loads(line))
    return rows
