"""What a server has done so far, for whoever watches it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Counters:
    """Answers by HTTP status, and the time that the model took.

    Attributes:
        answers: how many there were of each status.
        inferences: how many times the model has answered.
        inference_s: the seconds that it took for that.
    """

    answers: Counter[int] = field(default_factory=Counter)
    inferences: int = 0
    inference_s: float = 0.0

    def text(self, waiting: int, running: bool) -> str:
        """One number a line, in the format that Prometheus reads."""
        return "".join(
            [
                "# TYPE torchlite_answers_total counter\n",
                *(f'torchlite_answers_total{{status="{code}"}} {n}\n' for code, n in sorted(self.answers.items())),
                "# TYPE torchlite_inferences_total counter\n",
                f"torchlite_inferences_total {self.inferences}\n",
                "# TYPE torchlite_inference_seconds_total counter\n",
                f"torchlite_inference_seconds_total {self.inference_s:.6f}\n",
                "# TYPE torchlite_waiting_requests gauge\n",
                f"torchlite_waiting_requests {waiting}\n",
                "# TYPE torchlite_running_requests gauge\n",
                f"torchlite_running_requests {int(running)}\n",
            ]
        )
