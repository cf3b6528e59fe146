"""Metrics of an order: how far the scores of what is of a class stand above the others."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Literal, Self

import numpy as np

from torchlite._tensor import Tensor
from torchlite.train.metrics.labels import average_of, rows
from torchlite.train.metrics.metric import Array, Metric, log_softmax


class _OfScores(Metric):
    """A metric that needs every score, and keeps them."""

    kept = ("_scores", "_targets", "_separate")
    additive = False

    def __init__(
        self, average: Literal["macro", "micro", "weighted", "none"] = "macro", ignore_index: int = -100
    ) -> None:
        self.average, self.ignore_index = average, ignore_index
        self._scores: list[Array] = []
        self._targets: list[Array] = []
        self._separate = False

    def update(self, outputs: Tensor, target: Tensor) -> None:
        """Take in a batch."""
        scores, targets, self._separate = rows(outputs, target, self.ignore_index)
        self._scores.append(scores.copy())  # what it was given may be written to again
        self._targets.append(targets.copy())

    def merge(self, other: Self) -> None:
        """Take in what ``other`` was shown."""
        self._scores += other._scores
        self._targets += other._targets
        self._separate = self._separate or other._separate

    @abstractmethod
    def _of(self, scores: Array, truth: Array) -> float:
        """The value of one class: of (n,) scores and whether each is of the class."""

    def compute(self) -> float | list[float]:
        """The value so far; NaN of a class that all samples have or none, and such are left out of averages."""
        if not self._scores:
            return [] if self.average == "none" else float("nan")
        scores, targets = np.concatenate(self._scores), np.concatenate(self._targets)
        if self._separate:
            truth = targets
        elif scores.shape[1] == 2:
            scores, truth = scores[:, 1:].astype(np.float64) - scores[:, :1], targets[:, None] == 1
        else:
            scores, truth = np.exp(log_softmax(scores)), targets[:, None] == np.arange(scores.shape[1])
        if self.average == "micro":
            return self._of(scores.ravel(), truth.ravel())
        values = np.array([self._of(s, t) for s, t in zip(scores.T, truth.T, strict=True)])
        return average_of(values, truth.sum(0), self.average, ~np.isnan(values))


class RocAuc(_OfScores):
    """The area under the ROC curve: how likely something of a class scores above something that is not; ties are half.

    Of several classes each against the rest, by its softmax; of two classes, or outputs that stand alone, by the logit.

    Args:
        average: "macro" is the mean over the classes, "weighted" weights them by their targets, "micro" is of all scores
            together, "none" gives each class.
        ignore_index: the target that is not counted.
    """

    def _of(self, scores: Array, truth: Array) -> float:
        right, wrong = _by_threshold(scores, truth)
        if not right[-1] or not wrong[-1]:
            return float("nan")
        return float(np.trapezoid(right / right[-1], wrong / wrong[-1]))


class AveragePrecision(_OfScores):
    """The area under the curve of precision over recall, by steps: Σ (Rₙ - Rₙ₋₁) Pₙ over all thresholds.

    Args:
        average: as of ROC-AUC.
        ignore_index: the target that is not counted.
    """

    def _of(self, scores: Array, truth: Array) -> float:
        right, wrong = _by_threshold(scores, truth)
        if not right[-1]:
            return float("nan")
        precision = right[1:] / (right[1:] + wrong[1:])
        return float((np.diff(right) / right[-1] * precision).sum())


def _by_threshold(scores: Array, truth: Array) -> tuple[Array, Array]:
    """How many are right and wrong among the scores from each threshold on, from above all of them downwards."""
    order = np.argsort(-scores, kind="stable")
    ranked: Any = scores[order]
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1) if len(ranked) else np.zeros(0, np.int64)
    right = np.concatenate([[0], np.cumsum(truth[order])[ends]])
    return right, np.concatenate([[0], ends + 1]) - right
