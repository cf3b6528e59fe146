"""``log.txt`` of a run: what happened and when, a line each; and the heartbeat in ``status.json``."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from typing import Any

from torchlite.train.run_directory import RunDirectory

HEARTBEAT_S = 10.0
LOGGER = logging.getLogger("torchlite.train")
LOGGER.addHandler(logging.NullHandler())  # what is not asked for is not shown


class RunLog:
    """An observer that writes both. It never stops a run: what it can't write is not written."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._beat = time.monotonic()

    def started(self, plan: Any, progress: Any) -> None:
        """Where the run begins."""
        seed, device = plan.config.seed, plan.device
        self._line("info", f"at step {progress.step} of {plan.total_steps}, on {device}, seed {seed}")

    def stepped(self, progress: Any, step: Any) -> None:
        """That it is alive, every ten seconds, and a step that was left out."""
        if step.skipped and not progress.setbacks.in_a_row:
            self._line("info", f"step {progress.step}: {step.skipped}")
        if time.monotonic() - self._beat >= HEARTBEAT_S:
            self._beat = time.monotonic()
            self._run.write_status("running", progress.step)
        LOGGER.debug("step %d: loss %g, learning rate %g, %.4f s", progress.step, step.loss, step.lr, step.seconds)

    def evaluated(self, progress: Any, row: dict[str, float], best: bool) -> None:
        """The numbers."""
        numbers = "  ".join(f"{name} {value:.6g}" for name, value in row.items())
        self._line("info", f"step {progress.step}: {numbers}{'  (best)' if best else ''}")

    def saved(self, progress: Any, folder: Any) -> None:
        """Where the checkpoint is."""
        self._line("info", f"step {progress.step}: saved {folder.name}")

    def warned(self, progress: Any, message: str) -> None:
        """What went wrong."""
        self._line("warning", f"step {progress.step}: {message}")

    def ended(self, progress: Any, ending: str) -> None:
        """Why there is no further step."""
        counts = "".join(f"  {name} {count}" for name, count in progress.setbacks.counts().items())
        self._line("info", f"{ending} at step {progress.step}{counts}")

    def failed(self, progress: Any, error: BaseException) -> None:
        """What ended the run."""
        self._line("error", f"failed at step {progress.step}: {type(error).__name__}: {error}")

    def _line(self, level: str, text: str) -> None:
        LOGGER.info(text)
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        with suppress(OSError), (self._run.path / "log.txt").open("a", encoding="utf-8") as file:
            file.write(f"{stamp}  {level:<7}  {text}\n")
