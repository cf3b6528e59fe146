"""The runs in a folder: what they were, how they stand, and what they came to."""

from __future__ import annotations

import fcntl
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torchlite.errors import UsageError
from torchlite.train.metrics_log import read_metrics
from torchlite.train.run_directory import RunDirectory


@dataclass(frozen=True)
class RunRecord:
    """A run in a list.

    Attributes:
        run: its folder.
        name: ``<name>/<time>-<id>``.
        state: running, finished, interrupted, failed, or died where the process is gone without a word.
        step: optimizer steps done.
        metrics: its last evaluation.
        seconds: since it was last written to.
    """

    run: RunDirectory
    name: str
    state: str
    step: int
    metrics: dict[str, float]
    seconds: float

    KEYS: ClassVar = ("step", "state", "name", "age")

    def value(self, key: str) -> float | str | None:
        """A metric, or what one of `KEYS` says."""
        own: dict[str, Any] = dict(zip(self.KEYS, (self.step, self.state, self.name, self.seconds), strict=True))
        return own[key] if key in own else self.metrics.get(key)

    def record(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            "name": self.name,
            "path": str(self.run.path),
            "state": self.state,
            "step": self.step,
            "metrics": self.metrics,
        }


def list_runs(root: Path) -> list[RunRecord]:
    """Every run below ``root``, oldest first."""
    folders = sorted(path.parent for path in root.glob("*/*/resolved.yaml"))
    return sorted((record_of(RunDirectory(folder)) for folder in folders), key=lambda one: one.run.path.name)


def record_of(run: RunDirectory) -> RunRecord:
    """How one run stands."""
    status = run.status()
    state = status.get("state", "unknown")
    if state == "running" and not in_use(run):
        state = "died"
    metrics = last_evaluation(run)
    written = max(
        (path.stat().st_mtime for path in (run.metrics, run.path / "status.json") if path.exists()), default=0
    )
    name = f"{run.path.resolve().parent.name}/{run.path.name}"
    step = max([int(status.get("step", 0)), *(int(row["step"]) for row in rows_of(run)[-1:])])
    return RunRecord(run, name, state, step, metrics, max(0.0, time.time() - written))


def rows_of(run: RunDirectory) -> list[dict[str, Any]]:
    """The metrics file; none where there is none yet."""
    return read_metrics(run.metrics) if run.metrics.is_file() else []


def last_evaluation(run: RunDirectory) -> dict[str, float]:
    """The numbers of the last evaluation by name."""
    for row in reversed(rows_of(run)):
        if "lr" not in row:
            return {name: float(value) for name, value in row.items() if name not in ("step", "epoch")}
    return {}


def series(run: RunDirectory, metric: str) -> list[tuple[int, float]]:
    """A metric by step; ``loss`` is that of every step.

    Raises:
        UsageError: when the run has none of that name.
    """
    rows = rows_of(run)
    found = [(int(row["step"]), float(row[metric])) for row in rows if metric in row]
    if not found:
        names = sorted({name for row in rows for name in row} - {"step", "epoch"})
        raise UsageError(f"{run.path} has no '{metric}'; it has {', '.join(names) or 'no metrics yet'}")
    return found


def in_use(run: RunDirectory) -> bool:
    """Whether a process trains in the folder."""
    lock = run.path / ".lock"
    if not lock.exists():
        return False
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def size_of(run: RunDirectory) -> int:
    """The bytes in a run's folder."""
    return sum(path.stat().st_size for path in run.path.rglob("*") if path.is_file() and not path.is_symlink())


def superfluous(records: Sequence[RunRecord], keep: int) -> list[RunRecord]:
    """The runs that may go: those that made no checkpoint and, with ``keep``, all but so many of the newest of each name.

    None that is in use goes.
    """
    going = []
    by_name: dict[str, list[RunRecord]] = {}
    for one in records:
        if one.state == "running":
            continue
        if not one.run.store().steps():
            going.append(one)
        else:
            by_name.setdefault(one.name.partition("/")[0], []).append(one)
    if keep:
        going += [one for group in by_name.values() for one in group[:-keep]]
    return going


def remove(record: RunRecord) -> None:
    """Delete a run's folder, and the one around it where that is empty then."""
    with record.run.locked():
        shutil.rmtree(record.run.path)
    parent = record.run.path.parent
    if not any(parent.iterdir()):
        parent.rmdir()


def environment_of(run: RunDirectory) -> dict[str, Any]:
    """What ``env.json`` says."""
    try:
        content: dict[str, Any] = json.loads((run.path / "env.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return content
