"""Trials in this process, one after another, or in several processes at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from torchlite.backends.threads import get_num_threads
from torchlite.train.sweep.schedule import Job
from torchlite.train.sweep.trial import Trial, make_trial, train_trial

_POLL_S = 0.02
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""What BLAS libraries read when they are loaded, and compiled kernels follow them."""


@dataclass(frozen=True)
class Task:
    """What a worker is to do: train a trial of `path` as far as `pause`, or to its end."""

    path: Path
    base: tuple[str, ...]
    trial: Trial
    pause: str | None
    monitor: str
    mode: str


class Workers(Protocol):
    """Where trials are trained."""

    def free(self) -> bool:
        """Whether another one can begin."""

    def begin(self, job: Job, task: Task) -> None:
        """Begin one."""

    def wait(self, seconds: float) -> list[tuple[Job, int]]:
        """Those that have ended, with their exit codes."""

    def stop(self, number: int) -> None:
        """Ask all to save and end, as that signal does."""


@dataclass
class Here:
    """One trial after another in this process."""

    _ended: list[tuple[Job, int]] = field(default_factory=list)

    def free(self) -> bool:
        """Whether what ended has been asked for."""
        return not self._ended

    def begin(self, job: Job, task: Task) -> None:
        """Train a trial, now."""
        self._ended.append((job, train_trial(task.trial, task.pause, task.monitor, task.mode)))

    def wait(self, seconds: float) -> list[tuple[Job, int]]:  # noqa: ARG002
        """What has just ended."""
        ended, self._ended = self._ended, []
        return ended

    def stop(self, number: int) -> None:
        """The training that runs has had the signal itself."""


@dataclass
class Processes:
    """Several trials at once, each in a process of its own, so that one that is killed takes no other with it."""

    count: int
    _running: dict[Job, subprocess.Popen[bytes]] = field(default_factory=dict)

    def free(self) -> bool:
        """Whether fewer run than may."""
        return len(self._running) < self.count

    def begin(self, job: Job, task: Task) -> None:
        """Start a process."""
        task.trial.folder.parent.mkdir(parents=True, exist_ok=True)
        order = [str(task.path), str(task.trial.folder.parent), json.dumps(task.trial.values), json.dumps(task.base)]
        order += [task.pause or "", task.monitor, task.mode]
        with task.trial.folder.with_suffix(".log").open("ab") as log:
            self._running[job] = subprocess.Popen(
                [sys.executable, "-m", "torchlite.train.sweep.workers", *order],
                stdin=subprocess.PIPE,  # closes when this process dies, however it does
                stdout=log,
                stderr=log,
                env=os.environ | dict.fromkeys(_THREADS, str(threads_each(self.count))),
                start_new_session=True,  # Ctrl-C reaches this process alone, which passes it on once
            )

    def wait(self, seconds: float) -> list[tuple[Job, int]]:
        """Those that end within that time."""
        until = time.monotonic() + seconds
        while True:
            ended = [(job, code) for job, one in self._running.items() if (code := one.poll()) is not None]
            if ended or time.monotonic() >= until:
                break
            time.sleep(_POLL_S)
        for job, _ in ended:
            stdin = self._running.pop(job).stdin
            assert stdin is not None
            stdin.close()
        return ended

    def stop(self, number: int) -> None:
        """Pass a signal on."""
        for one in self._running.values():
            one.send_signal(number)


def threads_each(count: int) -> int:
    """How many threads each of several processes gets, so that together they have no more than the threads of this one."""
    return max(1, get_num_threads() // count)


def main(arguments: Sequence[str]) -> int:
    """What a process does: the trial that its arguments describe."""
    path, folder, values, base, pause, monitor, mode = arguments
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    trial = make_trial(Path(path), json.loads(base), json.loads(values), Path(folder))
    return train_trial(trial, pause or None, monitor, mode)


def _stop_with_parent() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
