"""The folder that a run leaves behind: ``runs/<name>/<time>-<id>/``."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import secrets
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torchlite.errors import CheckpointError, UsageError
from torchlite.serialization.atomic import write_file
from torchlite.train.checkpoint import Checkpoint, CheckpointStore
from torchlite.train.config.load import require_config
from torchlite.train.config.own_data import OWN_DATA
from torchlite.train.config.schema import Config
from torchlite.train.config.show import annotated
from torchlite.train.provenance import copy_code, environment, working_patch

FIRST_CONFIG = "resolved.first.yaml"
"""What the run began with, where it was changed later."""


@dataclass
class RunDirectory:
    """Where a run writes.

    Attributes:
        path: the folder.
        problem: why ``status.json`` could not be written, where it could not.
    """

    path: Path
    problem: str = field(default="", compare=False)

    @property
    def metrics(self) -> Path:
        """The metrics file."""
        return self.path / "metrics.jsonl"

    @property
    def config(self) -> Path:
        """The configuration with everything resolved: enough to resume, evaluate and export."""
        return self.path / "resolved.yaml"

    def read_config(self, overrides: Sequence[str] = (), *, allow_code: bool = False) -> Config:
        """The configuration of the run, changed by ``overrides``.

        Raises:
            ConfigError: showing every mistake.
            UsageError: when it names user code and ``allow_code`` does not say that it may run: a folder may have come
                from anywhere.
        """
        config = require_config(self.config, overrides)
        if config.uses_user_code and not allow_code:
            files = ", ".join(str(self.path / file) for file in config.code)
            raise UsageError(f"this run uses code of its own ({files}); read it, then pass --allow-code to run it")
        return config

    def store(self, keep_last: int = 2, keep_best: int = 1) -> CheckpointStore:
        """The checkpoints."""
        return CheckpointStore(self.path / "checkpoints", keep_last, keep_best)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Within the block no other process trains in this folder.

        Raises:
            UsageError: when one already does.
        """
        with (self.path / ".lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UsageError(f"{self.path} is in use by another process; wait for it or stop it first") from None
            yield

    def write_status(self, state: str, step: int, **more: Any) -> None:
        """Say in ``status.json`` how the run stands, and when that was; no disk is so full that a run ends by this."""
        beat = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        content = {"state": state, "step": step, "pid": os.getpid(), "host": platform.node(), "heartbeat": beat, **more}
        try:
            write_file(self.path / "status.json", [json.dumps(content, indent=2).encode() + b"\n"])
        except OSError as error:
            self.problem = f"{self.path / 'status.json'} could not be written ({error.strerror})"

    def status(self) -> dict[str, Any]:
        """What ``status.json`` says; empty where there is none."""
        try:
            content: dict[str, Any] = json.loads((self.path / "status.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return content

    def write_config(self, config: Config) -> None:
        """Write the resolved configuration; user code is named where `create` copied it to."""
        resolved = config.resolved()
        if resolved.get("code"):
            resolved["code"] = [f"code/{Path(file).name}" for file in resolved["code"]]
        if config.data.type in OWN_DATA:
            for key in ("root", "train", "val", "test", "files"):
                if resolved["data"].get(key):
                    resolved["data"][key] = _absolute(resolved["data"][key], config.path.parent)
        header = (
            "# Resolved: defaults filled in, references replaced, with where each value comes from. resume reads it.\n"
        )
        write_file(self.config, [header.encode(), annotated(resolved, self._origins(config)).encode()])

    def _origins(self, config: Config) -> dict[str, str]:
        """Where each value comes from; of those that were read from here what was known of them."""
        known = self.config.read_text(encoding="utf-8").splitlines() if self.config.is_file() else []
        origins = {}
        for key, origin in config.origins.items():
            file, _, line = origin.rpartition(":")
            here = known and line.isdecimal() and Path(file).resolve() == self.config.resolve()
            origins[key] = known[int(line) - 1].rpartition("  # ")[2] if here else origin
        return origins

    def note_change(self, step: int, overrides: Sequence[str]) -> None:
        """Remember in ``changes.json`` that the configuration is another behind ``step``, and keep the first as it was."""
        first = self.path / FIRST_CONFIG
        if not first.is_file():
            shutil.copyfile(self.config, first)
        changes = [*self.changes(), {"step": step, "overrides": list(overrides)}]
        write_file(self.path / "changes.json", [json.dumps(changes, indent=2).encode() + b"\n"])

    def changes(self) -> list[dict[str, Any]]:
        """The steps behind which the configuration was changed, and by which overrides."""
        try:
            content: list[dict[str, Any]] = json.loads((self.path / "changes.json").read_bytes())
        except (OSError, ValueError):
            return []
        return content


def _absolute(names: str | list[str], folder: Path) -> str | list[str]:
    """Files that are named relative to a folder, by their whole paths."""
    if isinstance(names, str):
        return str((folder / names).resolve())
    return [str((folder / name).resolve()) for name in names]


def new_name() -> str:
    """A name for a folder that sorts by time: ``<time>-<id>``."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def create(
    config: Config, root: Path, overrides: Sequence[str], data: dict[str, Any], folder: Path | None = None
) -> RunDirectory:
    """A new run folder with everything that is known before the first step: `folder`, or one of a new name in `root`.

    Raises:
        UsageError: when it cannot be made.
    """
    path = folder or root / config.name / new_name()
    try:
        path.mkdir(parents=True)
    except OSError as error:
        raise UsageError(f"can't make the run folder {path}: {error.strerror}; choose another with --runs") from None
    run = RunDirectory(path)
    shutil.copyfile(config.path, path / "config.yaml")
    run.write_config(config)
    (path / "overrides.txt").write_text("".join(f"{o}\n" for o in overrides))
    (path / "command.txt").write_text(shlex.join(sys.argv) + "\n")
    (path / "env.json").write_text(json.dumps(environment(config.path.parent), indent=2) + "\n")
    (path / "data.json").write_text(json.dumps(data, indent=2) + "\n")
    copy_code(config, path / "code")
    patch = working_patch(config)
    if patch:
        (path / "git.patch").write_bytes(patch)
    return run


def fork(
    run: RunDirectory,
    config: Config,
    overrides: Sequence[str],
    checkpoint: Checkpoint | None,
    folder: Path | None = None,
) -> RunDirectory:
    """A new folder which goes on from a checkpoint of ``run``: ``folder``, or one beside it; ``forked.json`` says which."""
    data = json.loads((run.path / "data.json").read_bytes())
    made = create(config, run.path.resolve().parent.parent, overrides, data, folder)
    step = 0
    if checkpoint is not None:
        step, state = checkpoint.step, checkpoint.state
        made.metrics.write_bytes(run.metrics.read_bytes()[: state["metrics_bytes"]])
        made.store().save(step, checkpoint.model, checkpoint.optim, state, metric=checkpoint.metric)
    (made.path / "forked.json").write_text(json.dumps({"run": str(run.path), "step": step}, indent=2) + "\n")
    return made


def find_run(path: str | Path) -> RunDirectory:
    """The run that ``path`` means: its folder, or ``runs/<name>`` or ``runs/<name>/latest`` for the newest.

    Raises:
        UsageError: when there is no run.
    """
    given = Path(path)
    folder = given.parent if given.name == "latest" and not given.exists() else given
    if (folder / "resolved.yaml").is_file():
        return RunDirectory(folder)
    runs = sorted(child for child in folder.iterdir() if (child / "resolved.yaml").is_file()) if folder.is_dir() else []
    if not runs:
        raise UsageError(
            f"there is no run at {given}: expected a folder with resolved.yaml, such as runs/<name>/<time>-<id>"
        )
    return RunDirectory(runs[-1])


def unfinished_run(config: Config, root: Path) -> RunDirectory | None:
    """The newest run of this name, unless it has finished."""
    try:
        run = find_run(root / config.name)
    except UsageError:
        return None
    return None if run.status().get("state") == "finished" else run


def checkpoint_of(run: RunDirectory, which: str) -> Any:
    """The checkpoint "best" (the last one where none is marked best), "last", or that of a step.

    Raises:
        CheckpointError: when there is none or it is damaged.
    """
    store = run.store()
    return store.load(_meant(store, which))


def checkpoint_folder(run: RunDirectory, which: str) -> Path:
    """The folder of that checkpoint, which is not looked into.

    Raises:
        CheckpointError: when there is none.
    """
    store = run.store()
    return store.find(_meant(store, which))[1]


def _meant(store: CheckpointStore, which: str) -> Literal["last", "best"] | int:
    if which.isdecimal():
        return int(which)
    if which == "best":
        return "best" if (store.folder / "best.json").is_file() else "last"
    if which != "last":
        raise CheckpointError(f"expected 'best', 'last' or a step number, got {which!r}")
    return "last"
