"""Metrics of decisions: which class was predicted, and which was right."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import numpy as np

from torchlite._tensor import Tensor
from torchlite.train.metrics.labels import average_of, rows
from torchlite.train.metrics.metric import Array, Metric

Average = Literal["binary", "macro", "micro", "weighted", "none"]


class Accuracy(Metric):
    """The share of decisions that are right: the largest logit is the target's.

    Where a logit stands alone (targets of the shape of the outputs), it is a yes above the threshold, and every one is a
    decision.

    Args:
        threshold: what an output of its own must exceed: 0 for logits, 0.5 for probabilities.
        ignore_index: the target that is not counted.
    """

    kept = ("correct", "count")

    def __init__(self, threshold: float = 0.0, ignore_index: int = -100) -> None:
        self.threshold, self.ignore_index = threshold, ignore_index
        self.correct = 0
        self.count = 0

    def update(self, outputs: Tensor, target: Tensor) -> None:
        """Take in a batch."""
        scores, targets, separate = rows(outputs, target, self.ignore_index)
        hits = (scores > self.threshold if separate else scores.argmax(-1)) == targets
        self.correct += int(np.count_nonzero(hits))
        self.count += int(hits.size)

    def compute(self) -> float:
        """The accuracy so far; NaN of nothing."""
        return self.correct / self.count if self.count else float("nan")


class TopK(Metric):
    """The share of samples whose target is among the ``k`` largest logits; of equal logits the first come first.

    Args:
        k: how many.
        ignore_index: the target that is not counted.
    """

    kept = ("correct", "count")

    def __init__(self, k: int = 5, ignore_index: int = -100) -> None:
        self.k, self.ignore_index = k, ignore_index
        self.correct = 0
        self.count = 0

    def update(self, outputs: Tensor, target: Tensor) -> None:
        """Take in a batch."""
        scores, targets, separate = rows(outputs, target, self.ignore_index)
        if separate:
            raise ValueError("top_k needs logits of several classes, got outputs that are each decided by themselves")
        own = np.take_along_axis(scores, targets[:, None], 1)
        before = np.arange(scores.shape[1]) < targets[:, None]
        rank = np.count_nonzero((scores > own) | ((scores == own) & before) | np.isnan(own), axis=1)
        self.correct += int(np.count_nonzero(rank < self.k))
        self.count += len(targets)

    def compute(self) -> float:
        """The share so far; NaN of nothing."""
        return self.correct / self.count if self.count else float("nan")


class ConfusionMatrix(Metric):
    """How often each class was taken for each: rows are targets, columns predictions.

    Args:
        normalize: "true" divides by the rows' sums, "pred" by the columns', "all" by that of everything.
        threshold: of outputs that stand alone, which are then the classes no and yes.
        ignore_index: the target that is not counted.
    """

    kept = ("counts",)

    def __init__(
        self,
        normalize: Literal["none", "true", "pred", "all"] = "none",
        threshold: float = 0.0,
        ignore_index: int = -100,
    ) -> None:
        self.normalize, self.threshold, self.ignore_index = normalize, threshold, ignore_index
        self.counts: Array = np.zeros((0, 0), np.int64)

    def update(self, outputs: Tensor, target: Tensor) -> None:
        """Take in a batch."""
        scores, targets, separate = rows(outputs, target, self.ignore_index)
        if separate and scores.shape[1] != 1:
            raise ValueError(f"a confusion matrix is of one decision, got {scores.shape[1]} that are each a yes or no")
        size = 2 if separate else scores.shape[1]
        predicted = (scores > self.threshold)[:, 0] if separate else scores.argmax(-1)
        pairs = (targets[:, 0] if separate else targets) * np.int64(size) + predicted
        self.counts = _added(self.counts, np.bincount(pairs, minlength=size * size).reshape(size, size))

    def merge(self, other: Self) -> None:
        """Take in what ``other`` was shown."""
        self.counts = _added(self.counts, other.counts)

    def compute(self) -> Array:
        """The matrix so far; zeros where a row or column has nothing to be divided by."""
        totals = {
            "none": np.ones((), np.int64),
            "true": self.counts.sum(1, keepdims=True),
            "pred": self.counts.sum(0, keepdims=True),
            "all": self.counts.sum(),
        }[self.normalize]
        return self.counts if self.normalize == "none" else self.counts / np.maximum(totals, 1)

    def recall(self) -> list[float]:
        """For each class the share of its samples that were recognised; NaN for a class without samples."""
        totals = self.counts.sum(1)
        return [float(c / n) if n else float("nan") for c, n in zip(self.counts.diagonal(), totals, strict=True)]


class _OfCounts(Metric):
    """A ratio of the right decisions to them and the wrong ones, of each class.

    Attributes:
        weights: of the right ones, the false alarms, and those that were missed; the numerator are the right ones.
    """

    kept = ("right", "alarms", "missed", "alone")
    weights: ClassVar[tuple[int, int, int]]

    def __init__(self, average: Average | None = None, threshold: float = 0.0, ignore_index: int = -100) -> None:
        self.average, self.threshold, self.ignore_index = average, threshold, ignore_index
        self.right: Array = np.zeros(0, np.int64)
        self.alarms: Array = np.zeros(0, np.int64)
        self.missed: Array = np.zeros(0, np.int64)
        self.alone = False  # a single yes or no, whose classes are no and yes

    def update(self, outputs: Tensor, target: Tensor) -> None:
        """Take in a batch."""
        scores, targets, separate = rows(outputs, target, self.ignore_index)
        self.alone = separate and scores.shape[1] == 1
        if separate and not self.alone:
            predicted = scores > self.threshold
            right, all_predicted, all_there = (x.sum(0) for x in (predicted & targets, predicted, targets))
        else:
            best, size = scores.argmax(-1), scores.shape[1]
            if self.alone:
                best, targets, size = (
                    (scores > self.threshold)[:, 0].astype(np.int64),
                    targets[:, 0].astype(np.int64),
                    2,
                )
            right = np.bincount(targets[best == targets], minlength=size)
            all_predicted, all_there = np.bincount(best, minlength=size), np.bincount(targets, minlength=size)
        self._add(right, all_predicted - right, all_there - right)

    def _add(self, right: Array, alarms: Array, missed: Array) -> None:
        self.right, self.alarms = _added(self.right, right), _added(self.alarms, alarms)
        self.missed = _added(self.missed, missed)

    def merge(self, other: Self) -> None:
        """Take in what ``other`` was shown."""
        self._add(other.right, other.alarms, other.missed)
        self.alone = self.alone or other.alone

    def _ratio(self, right: Array, alarms: Array, missed: Array) -> Array:
        """The value; 0 where there is nothing to be divided by."""
        a, b, c = self.weights
        ratio: Array = a * right / np.maximum(a * right + b * alarms + c * missed, 1)
        return ratio

    def compute(self) -> float | list[float]:
        """The value so far."""
        average = self.average or ("binary" if self.alone else "macro")
        right, alarms, missed = self.right, self.alarms, self.missed
        occurs = right + alarms + missed > 0
        if not occurs.any():
            return [float("nan")] * len(right) if average == "none" else float("nan")
        if average == "micro":
            return float(self._ratio(right.sum(), alarms.sum(), missed.sum()))
        values = np.where(occurs, self._ratio(right, alarms, missed), np.nan)
        if average == "binary":
            if len(values) != 2:
                raise ValueError(
                    f"average: binary is of two classes, got {len(values)}; choose macro, micro or weighted"
                )
            return float(values[1]) if occurs[1] else 0.0
        return average_of(values, right + missed, average, occurs)


class Precision(_OfCounts):
    """Of what was taken for a class, the share that is: right / (right + false alarms); 0 where nothing was.

    Args:
        average: "macro" is the mean over the classes that occur, "weighted" weights them by their targets, "micro" is of
            all decisions together, "binary" of the second class, "none" gives each class. Where unset, macro; of a single
            output, binary.
        threshold: what an output of its own must exceed: 0 for logits, 0.5 for probabilities.
        ignore_index: the target that is not counted.
    """

    weights = (1, 1, 0)


class Recall(_OfCounts):
    """Of what is of a class, the share that was taken for it: right / (right + missed); arguments as of precision."""

    weights = (1, 0, 1)


class F1(_OfCounts):
    """The harmonic mean of precision and recall: 2 right / (2 right + false alarms + missed); arguments as of precision."""

    weights = (2, 1, 1)


class IoU(_OfCounts):
    """Intersection over union (Jaccard): right / (right + false alarms + missed), as of pixels in segmentation.

    Arguments as of precision.
    """

    weights = (1, 1, 1)


def _added(a: Array, b: Array) -> Array:
    """The sum of counts; those of nothing yet have no size."""
    if a.size and b.size and a.shape != b.shape:
        raise ValueError(f"counts of {a.shape[0]} and {b.shape[0]} classes can't be added")
    total: Array = a + b if a.size and b.size else (a if a.size else b)
    return total
