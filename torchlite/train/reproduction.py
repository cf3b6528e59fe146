"""A run taken once more: what is different now, and whether the numbers and weights come out the same, bit for bit."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from torchlite.errors import DataError, UsageError
from torchlite.serialization.atomic import write_file
from torchlite.train import run as runs
from torchlite.train.config.load import require_config
from torchlite.train.config.parts import Duration, Time
from torchlite.train.config.schema import Config
from torchlite.train.data import load_splits
from torchlite.train.loop import Observer
from torchlite.train.metrics_log import read_metrics
from torchlite.train.provenance import changed_code, environment, git
from torchlite.train.run_directory import FIRST_CONFIG, RunDirectory, find_run, fork, new_name


@dataclass(frozen=True)
class Difference:
    """Something that is not now what it was then."""

    what: str
    then: str
    now: str

    def __str__(self) -> str:
        return f"{self.what} {self.then} -> {self.now}"


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side.

    Attributes:
        rows: how many lines of the metrics files were compared.
        tensors: how many of model and optimizer were, and of which ``step``; none where one has no checkpoint of it.
        first: the first number that differs: step, key, was, now; None where none does.
        largest: the same of the number that differs most, by its share of the greater one.
        tensor: the first tensor that differs: name, and the largest difference in it.
    """

    rows: int
    tensors: int
    step: int | None
    first: dict[str, Any] | None
    largest: dict[str, Any] | None
    tensor: dict[str, Any] | None

    @property
    def identical(self) -> bool:
        """Whether nothing differs."""
        return self.first is None and self.tensor is None

    def __str__(self) -> str:
        tensors = f", and {self.tensors} tensors of step {self.step}" if self.tensors else "; no weights to compare"
        if self.identical:
            return f"identical: {self.rows} rows{tensors}, bit for bit"
        parts = []
        if self.first is not None:
            parts.append(f"from step {self.first['step']} on: {_said(self.first)}")
        if self.largest is not None and self.largest != self.first:
            parts.append(f"largest at step {self.largest['step']}: {_said(self.largest)}")
        if self.tensor is not None:
            parts.append(f"tensor '{self.tensor['name']}' of step {self.step}, by {self.tensor['difference']:.3g}")
        return "different " + "; ".join(parts)


def _said(one: Mapping[str, Any]) -> str:
    return f"{one['key']} was {one['was']!r}, now is {one['now']!r}"


def differences(run: RunDirectory, config: Config) -> list[Difference]:
    """What of a run's surroundings is not what it was: versions, machine, commit, the copied code, the data.

    Raises:
        UsageError: when the run does not say what they were. DataError: when there is no data now.
    """
    try:
        then = json.loads((run.path / "env.json").read_bytes())
        data = json.loads((run.path / "data.json").read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"{run.path} does not say what it was made of: {error}") from None
    git_then = then.pop("git", {})
    now = environment(Path(git_then.get("root") or ".") if Path(git_then.get("root") or ".").is_dir() else Path())
    git_now = now.pop("git")
    found = list(_apart("", then, {key: now.get(key) for key in then}))
    if git_then.get("commit"):
        found += _apart("", {"commit": git_then["commit"][:12]}, {"commit": git_now["commit"][:12] or "none"})
    found += [Difference(f"code/{name}", "as it ran", "changed") for name in changed_code(run.path / "code")]
    fingerprint = load_splits(config).fingerprint
    found += _apart("", {"data": data.get("fingerprint", "")[:12]}, {"data": fingerprint[:12]})
    return found


def _apart(prefix: str, then: Any, now: Any) -> Iterator[Difference]:
    """The leaves that differ; only what was there then is looked at."""
    if isinstance(then, dict):
        for key, value in then.items():
            yield from _apart(f"{prefix} {key}".lstrip(), value, now.get(key) if isinstance(now, dict) else None)
    elif then != now:
        yield Difference(prefix, str(then), "none" if now is None else str(now))


def rerun(run: RunDirectory, observer: Observer, *, steps: int | None = None, allow_code: bool = False) -> RunDirectory:
    """Train again what a run trained, as far as it came or ``steps``, in a new folder below its own.

    Where the configuration was changed on the way it is changed behind the same steps again. User code is the copy that the
    run has.

    Raises:
        TorchliteError: what went wrong, by its kind.
    """
    reached = max((int(row["step"]) for row in read_metrics(run.metrics)), default=0)
    end = min(steps or reached, reached)
    if not end:
        raise UsageError(f"{run.metrics} holds no step yet: there is nothing to repeat")
    folder = run.path / "repro" / new_name()
    changes = [change for change in run.changes() if change["step"] < end]
    stretches = [int(change["step"]) for change in changes] + [end]
    outcome = _begin(run, observer, folder, Duration(max(1, stretches[0]), "steps"), allow_code)
    for change, step in zip(changes, stretches[1:], strict=True):
        if not outcome.exit_code:
            pause = Duration(step, "steps")
            outcome = runs.resume(
                outcome.run, observer, overrides=change["overrides"], allow_code=allow_code, pause=pause
            )
    if outcome.exit_code:
        raise KeyboardInterrupt
    return outcome.run


def _begin(run: RunDirectory, observer: Observer, folder: Path, pause: Duration, allow_code: bool) -> runs.Outcome:
    """The first stretch: from the beginning, or from the checkpoint of another run that it was forked from."""
    first = run.path / FIRST_CONFIG
    whole = run.read_config(allow_code=allow_code)
    untimed = ["unset:train.time"] if whole.train.time is not None else []  # it goes as far as the run came
    config = require_config(first if first.is_file() else run.config, untimed) if first.is_file() or untimed else whole
    origin = run.path / "forked.json"
    if not origin.is_file():
        return runs.train(config, observer, folder=folder, pause=pause)
    forked = json.loads(origin.read_bytes())
    parent = find_run(forked["run"])
    checkpoint = parent.store().load(int(forked["step"])) if forked["step"] else None
    made = fork(parent, config, [], checkpoint, folder)
    return runs.resume(made, observer, allow_code=allow_code, pause=pause)


def compare(original: RunDirectory, again: RunDirectory, *, evaluations: bool = True) -> Comparison:
    """The rows of the metrics files as far as the second goes, and the weights and the optimizer's state of its last step.

    Without ``evaluations`` only the rows of steps: where the clock decides about evaluations, there are others each time.
    """
    rows, repeated = (
        [row for row in read_metrics(one.metrics) if evaluations or "lr" in row] for one in (original, again)
    )
    end = max((int(row["step"]) for row in repeated), default=0)
    rows = [row for row in rows if row["step"] <= end]
    apart = [
        {"step": was["step"], "key": key, "was": was.get(key), "now": now.get(key)}
        for was, now in zip(rows, repeated, strict=False)
        for key in {**was, **now}
        if was.get(key) != now.get(key)
    ]
    if len(rows) != len(repeated):
        step = max(end, 1)
        apart.append({"step": step, "key": "number of rows", "was": len(rows), "now": len(repeated)})
    tensors, tensor = 0, None
    both = end in original.store().steps() and end in again.store().steps()
    if both:
        one, other = original.store().load(end), again.store().load(end)
        tensors, tensor = _compare_tensors({**one.model, **one.optim}, {**other.model, **other.optim})
    largest = max(apart, key=_size, default=None)
    return Comparison(len(rows), tensors, end if both else None, apart[0] if apart else None, largest, tensor)


def _size(one: Mapping[str, Any]) -> float:
    try:
        was, now = float(one["was"]), float(one["now"])
    except (TypeError, ValueError):
        return math.inf
    return abs(was - now) / max(abs(was), abs(now)) if math.isfinite(was - now) else math.inf


def _compare_tensors(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[int, dict[str, Any] | None]:
    names = list(dict.fromkeys([*one, *other]))
    for name in names:
        a, b = one.get(name), other.get(name)
        if a is None or b is None or a.shape != b.shape:
            return len(names), {"name": name, "difference": math.inf}
        if a.tobytes() != b.tobytes():
            return len(names), {"name": name, "difference": float(np.abs(np.subtract(a, b, dtype=np.float64)).max())}
    return len(names), None


def reproduce(
    run: RunDirectory,
    observer: Observer,
    *,
    steps: int | None = None,
    allow_code: bool = False,
    at_commit: bool = False,
) -> tuple[RunDirectory, Comparison]:
    """`rerun`, here or, ``at_commit``, with the modules of the commit and patch that the run was made with; and `compare`.

    Raises:
        TorchliteError: what went wrong, by its kind.
        DataError: when the data is not what it was.
    """
    recorded = json.loads((run.path / "data.json").read_bytes()).get("fingerprint")
    fingerprint = load_splits(run.read_config(allow_code=allow_code)).fingerprint
    if recorded is not None and recorded != fingerprint:
        raise DataError(
            f"the data is not what {run.path} was trained on (SHA-256 {fingerprint[:12]}, was {recorded[:12]}): restore it"
        )
    if at_commit:
        with commit_of(run) as folder:
            again = _rerun_in(folder, run, steps, allow_code)
    else:
        again = rerun(run, observer, steps=steps, allow_code=allow_code)
    timed = isinstance(run.read_config(allow_code=allow_code).eval.every, Time)
    comparison = compare(run, again, evaluations=not timed)
    content = {"identical": comparison.identical, **asdict(comparison)}
    write_file(again.path / "comparison.json", [json.dumps(content, indent=2).encode() + b"\n"])
    return again, comparison


@contextmanager
def commit_of(run: RunDirectory) -> Iterator[Path]:
    """While the block runs: a work tree as it was, at the place of the configuration in it. Nothing else is touched.

    Raises:
        UsageError: when the run was made outside of a repository, or commit or patch are not to be had any more.
    """
    state = json.loads((run.path / "env.json").read_bytes()).get("git", {})
    root, commit = Path(state.get("root") or ""), state.get("commit")
    if not commit or not root.is_dir():
        raise UsageError(f"{run.path} names no commit of a repository that is here")
    with tempfile.TemporaryDirectory(prefix="torchlite-repro-") as temporary:
        tree = Path(temporary) / "tree"
        _git_or_fail(root, "worktree", "add", "--detach", "--quiet", str(tree), commit)
        try:
            patch = run.path / "git.patch"
            if patch.is_file():
                _git_or_fail(tree, "apply", "--binary", "--whitespace=nowarn", str(patch.resolve()))
            yield tree / state.get("prefix", "")
        finally:
            shutil.rmtree(tree, ignore_errors=True)
            git(root, "worktree", "prune")


def _git_or_fail(folder: Path, *arguments: str) -> None:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UsageError(f"git {' '.join(arguments[:2])} failed in {folder}: {done.stderr.strip()}")


_SCRIPT = """\
import json, sys
from torchlite.errors import TorchliteError
from torchlite.train.callbacks import Observers
from torchlite.train.reproduction import rerun
from torchlite.train.run_directory import RunDirectory
from pathlib import Path
path, steps, allow_code = json.loads(sys.argv[1])
try:
    print("RERUN", rerun(RunDirectory(Path(path)), Observers([]), steps=steps, allow_code=allow_code).path)
except TorchliteError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


def _rerun_in(folder: Path, run: RunDirectory, steps: int | None, allow_code: bool) -> RunDirectory:
    """`rerun` in a process of its own that finds modules in ``folder`` first."""
    tree = next((parent for parent in (folder, *folder.parents) if (parent / ".git").exists()), folder)
    paths = [str(folder), str(tree), *filter(None, [os.environ.get("PYTHONPATH")])]
    arguments = [sys.executable, "-c", _SCRIPT, json.dumps([str(run.path.resolve()), steps, allow_code])]
    surroundings = {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}
    done = subprocess.run(arguments, cwd=folder, env=surroundings, capture_output=True, text=True, check=False)
    found = [line.removeprefix("RERUN ") for line in done.stdout.splitlines() if line.startswith("RERUN ")]
    if done.returncode or not found:
        raise UsageError(
            f"the run can't be repeated at its commit: {done.stderr.strip().splitlines()[-1:] or 'no word'}"
        )
    return RunDirectory(Path(found[-1]))
