"""When something is due that happens every so many steps, or minutes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from torchlite.train.config.parts import Duration, Period, Time


@dataclass
class Clock:
    """The time that a run has taken, in all of its processes.

    Attributes:
        spent: seconds.
        evaluated, saved: how many it were at the last evaluation and the last planned checkpoint.
    """

    spent: float = 0.0
    evaluated: float = 0.0
    saved: float = 0.0
    _looked: float = field(default_factory=lambda: time.monotonic(), repr=False)

    def look(self) -> float:
        """The seconds up to now."""
        now = time.monotonic()
        self.spent, self._looked = self.spent + now - self._looked, now
        return self.spent

    def state(self) -> dict[str, float]:
        """All there is to save."""
        return {"spent": self.spent, "evaluated": self.evaluated, "saved": self.saved}


@dataclass(frozen=True)
class Pace:
    """Every so many steps, or seconds; one of the two is None."""

    steps: int | None
    seconds: float | None

    @classmethod
    def of(cls, every: Period, steps_per_epoch: int) -> Pace:
        """The pace that a configuration asks for."""
        if isinstance(every, Time):
            return cls(None, every.seconds)
        assert isinstance(every, Duration)
        return cls(every.steps(steps_per_epoch), None)

    def due(self, step: int, spent: float, last: float) -> bool:
        """Whether it is time behind ``step``, after ``spent`` seconds, when it was ``last`` at so many."""
        if self.steps is not None:
            return step % self.steps == 0
        return self.seconds is not None and spent - last >= self.seconds
