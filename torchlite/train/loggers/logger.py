"""What loggers have in common: the numbers of every so many steps, and those of evaluations."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any


class Logger(ABC):
    """Passes on the loss and the learning rate of every ``every`` steps and the values of each evaluation."""

    folder: Path = Path()

    def __init__(self, every: int = 1) -> None:
        self._every = every
        self._is_open = False

    def started(self, plan: Any, progress: Any) -> None:
        """The run is about to take its first step."""
        self.open(plan.config, progress.step)
        self._is_open = True

    def stepped(self, progress: Any, step: Any) -> None:
        """An optimizer step is done."""
        if progress.step % self._every == 0:
            seconds = {"time/step_s": step.seconds, "time/data_wait_s": step.waited}
            self.write({"train/step_loss": step.loss, "train/lr": step.lr, **seconds}, progress.step)

    def evaluated(self, progress: Any, row: dict[str, float], _best: bool) -> None:
        """The model was evaluated."""
        self.write({name: value for name, value in row.items() if math.isfinite(value)}, progress.step)

    def ended(self, _progress: Any, ending: str) -> None:
        """There will be no further step."""
        self.close(ending not in ("paused", "interrupted"))

    def failed(self, _progress: Any, _error: BaseException) -> None:
        """The run ended with an exception."""
        if self._is_open:
            self.close(False)

    @abstractmethod
    def open(self, config: Any, step: int) -> None:
        """Begin to write a run that has taken ``step`` steps."""

    @abstractmethod
    def write(self, values: dict[str, float], step: int) -> None:
        """Write numbers of a step."""

    @abstractmethod
    def close(self, finished: bool) -> None:
        """Write what is left."""
