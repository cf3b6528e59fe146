"""One trial of a sweep: known by what it trains, so that the same one never trains twice."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchlite.errors import ConfigError, NonFiniteLossError, TorchliteError
from torchlite.serialization.atomic import write_file
from torchlite.train import run
from torchlite.train.callbacks import Observers
from torchlite.train.config.load import require_config
from torchlite.train.config.parts import Duration
from torchlite.train.config.schema import Config
from torchlite.train.metrics_log import read_metrics
from torchlite.train.provenance import sha256_of
from torchlite.train.run_directory import RunDirectory
from torchlite.train.sweep.space import Values

_LASTING = (ConfigError.exit_code, NonFiniteLossError.exit_code)
"""Exit codes of what would go wrong every time; after any other a trial is tried again."""


@dataclass(frozen=True)
class Trial:
    """A trial.

    Attributes:
        values: what it tries.
        overrides: the changes to the configuration that make it.
        id: the hash of all that it trains.
        folder: where its run lies.
        config: the configuration of that run; None where it is none, and `problem` says why.
    """

    values: Values
    overrides: tuple[str, ...]
    id: str
    folder: Path
    config: Config | None
    problem: str = ""

    @property
    def record(self) -> Path:
        """The file in which its results are noted."""
        return self.folder.with_suffix(".json")

    def results(self) -> dict[str, Any]:
        """What is known of it: by rung, and what went wrong."""
        try:
            known: dict[str, Any] = json.loads(self.record.read_bytes())
        except (OSError, ValueError):
            return {}
        return known

    def lasting(self) -> dict[str, Any]:
        """The same, without what is worth another try."""
        known = self.results()
        return known if known.get("exit_code", _LASTING[0]) in _LASTING else {}

    def note(self, **more: Any) -> None:
        """Add to what is known."""
        known = {"overrides": list(self.overrides), **self.lasting(), **more}
        write_file(self.record, [json.dumps(known, indent=2).encode() + b"\n"])


def make_trial(path: Path, overrides: Sequence[str], values: Values, folder: Path) -> Trial:
    """The trial of a configuration with these values, in a folder below `folder`."""
    changes = (*overrides, *(f"{key}={json.dumps(value)}" for key, value in values.items()), "unset:sweep")
    problem = ""
    try:
        config = require_config(path, changes)
        content: Any = {key: value for key, value in config.resolved().items() if key not in ("name", "code")}
        content["code"] = {Path(file).name: sha256_of(path.parent / file) for file in config.code}
    except ConfigError as error:
        config, content, problem = None, list(changes), str(error)
    identity = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
    return Trial(values, changes, identity, folder / identity, config, problem)


def train_trial(trial: Trial, pause: str | None, monitor: str, mode: str) -> int:
    """Train a trial as far as `pause`, or to its end, from where it stands; its results are noted. The exit code."""
    try:
        code, step = _advance(trial, Duration.parse(pause) if pause else None)
    except TorchliteError as error:
        trial.note(exit_code=error.exit_code, problem=str(error))
        return error.exit_code
    if code == 0:
        value = best_value(RunDirectory(trial.folder), monitor, mode)
        noted = trial.results().get("rungs", {})
        trial.note(rungs={**noted, pause or "end": {"value": value, "step": step}})
    return code


def _advance(trial: Trial, pause: Duration | None) -> tuple[int, int]:
    """Train on; the exit code, and the step that was reached."""
    if trial.config is None:
        raise ConfigError(trial.problem)
    directory = RunDirectory(trial.folder)
    status = directory.status()
    if status.get("state") == "finished":
        return 0, status["step"]
    observer = Observers([])
    if directory.config.is_file():
        outcome = run.resume(directory, observer, allow_code=True, pause=pause)
    else:
        shutil.rmtree(trial.folder, ignore_errors=True)  # what was interrupted before it was whole
        outcome = run.train(trial.config, observer, folder=trial.folder, overrides=trial.overrides, pause=pause)
    return outcome.exit_code, outcome.progress.step


def best_value(directory: RunDirectory, monitor: str, mode: str) -> float | None:
    """The best value of an evaluation so far; None where there is none."""
    values = [float(row[monitor]) for row in read_metrics(directory.metrics) if monitor in row]
    finite = [value for value in values if math.isfinite(value)]
    return (min if mode == "min" else max)(finite, default=None)
