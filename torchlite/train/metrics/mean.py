"""The mean of a number that batches report."""

from __future__ import annotations

from torchlite.train.metrics.metric import Metric


class Mean(Metric):
    """The mean of a number over samples, weighted by how many each batch had."""

    kept = ("total", "count")

    def __init__(self) -> None:
        self.total = 0.0
        self.count = 0

    def update(self, mean: float, samples: int) -> None:
        """Take in a batch's mean over ``samples``."""
        self.total += mean * samples
        self.count += samples

    def compute(self) -> float:
        """The mean so far; NaN of nothing."""
        return self.total / self.count if self.count else float("nan")
