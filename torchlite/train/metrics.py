"""Metrics: exact over everything they were shown, whatever the batches."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite import backends
from torchlite._tensor import Tensor


class Mean:
    """The mean of a number over samples, weighted by how many each batch had."""

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

    def state(self) -> dict[str, Any]:
        """All there is to save."""
        return {"total": self.total, "count": self.count}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self.total, self.count = state["total"], state["count"]


class Accuracy:
    """The share of samples whose largest logit is the target's (a positive logit for a single one)."""

    def __init__(self) -> None:
        self.correct = 0
        self.count = 0

    def update(self, logits: Tensor, target: Tensor) -> None:
        """Take in a batch."""
        hits = predictions(logits) == backends.to_numpy(target._data)
        self.correct += int(np.count_nonzero(hits))
        self.count += int(hits.size)

    def compute(self) -> float:
        """The accuracy so far; NaN of nothing."""
        return self.correct / self.count if self.count else float("nan")

    def state(self) -> dict[str, Any]:
        """All there is to save."""
        return {"correct": self.correct, "count": self.count}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self.correct, self.count = state["correct"], state["count"]


class ConfusionMatrix:
    """How often each class was taken for each: rows are targets, columns predictions."""

    def __init__(self, num_classes: int) -> None:
        self.counts = np.zeros((num_classes, num_classes), np.int64)

    def update(self, logits: Tensor, target: Tensor) -> None:
        """Take in a batch."""
        np.add.at(self.counts, (backends.to_numpy(target._data), predictions(logits)), 1)

    def compute(self) -> np.ndarray[Any, Any]:
        """The counts so far."""
        return self.counts

    def recall(self) -> list[float]:
        """For each class the share of its samples that were recognised; NaN for a class without samples."""
        totals = self.counts.sum(1)
        return [float(c / n) if n else float("nan") for c, n in zip(self.counts.diagonal(), totals, strict=True)]


def predictions(logits: Tensor) -> np.ndarray[Any, Any]:
    """The predicted class of each sample."""
    array = backends.to_numpy(logits._data)
    if array.ndim < 2 or array.shape[1] == 1:
        return (array > 0).astype(np.int64)
    return array.argmax(-1 if array.ndim == 3 else 1)  # (N, T, C) of sequences; (N, C, ...) elsewhere
