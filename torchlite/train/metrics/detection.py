"""The metric of detected boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from torchlite._tensor import Tensor
from torchlite.train.metrics.metric import Array, Metric, in_memory

_RECALLS = np.linspace(0, 1, 101)


class MeanAveragePrecision(Metric):
    """The mean average precision of boxes, as COCO defines it: mean over classes and thresholds of overlap.

    Of each class the detections are sorted by score over all images; one is right where it overlaps a box of its class
    that no better one has taken. The precision, made to fall only, is averaged at 101 places of recall. Classes without a
    box are left out.

    Shape: outputs (N, K, 6) of x1, y1, x2, y2, score, class and targets (N, M, 5) of x1, y1, x2, y2, class, filled up with
    rows of class -1; or, as torchvision's, a list of mappings with ``boxes`` (K, 4), ``scores`` and ``labels`` for outputs
    and one with ``boxes`` and ``labels`` for targets.

    Args:
        thresholds: of intersection over union that a match needs; 0.5, 0.55, … 0.95 where unset.
        max_detections: of each image and class, the best that count.
    """

    kept = ("_detections", "_boxes", "_images")
    additive = False

    def __init__(self, thresholds: tuple[float, ...] | None = None, max_detections: int = 100) -> None:
        self.thresholds = np.linspace(0.5, 0.95, 10) if thresholds is None else np.array(thresholds, np.float64)
        self.max_detections = max_detections
        # One row a detection: class, score, image, then for each threshold whether it is right; one row a box: its class.
        self._detections: list[Array] = []
        self._boxes: list[Array] = []
        self._images = 0

    def update(self, outputs: Any, target: Any) -> None:
        """Take in a batch."""
        images, truths = _detected(outputs), _true(target)
        if len(images) != len(truths):
            raise ValueError(f"expected as many targets as outputs, got {len(truths)} and {len(images)}")
        for found, there in zip(images, truths, strict=True):
            self._boxes.append(there[:, 4])
            for label in np.unique(found[:, 5]):
                mine = found[found[:, 5] == label]
                mine = mine[np.argsort(-mine[:, 4], kind="stable")][: self.max_detections]
                hits = self._hits(mine[:, :4], there[there[:, 4] == label, :4])
                image = np.full(len(mine), self._images)
                self._detections.append(np.column_stack([mine[:, 5], mine[:, 4], image, hits]))
            self._images += 1

    def _hits(self, boxes: Array, truths: Array) -> Array:
        """Whether each box, best first, takes one that is still free, at each threshold: (K, thresholds)."""
        hits = np.zeros((len(boxes), len(self.thresholds)))
        if not len(truths):
            return hits
        overlaps = overlap(boxes, truths)
        for column, threshold in enumerate(self.thresholds):
            free = np.ones(len(truths), bool)
            for row, each in enumerate(overlaps):
                candidates = np.where(free, each, -1.0)
                best = int(candidates.argmax())
                if candidates[best] >= threshold:
                    hits[row, column], free[best] = 1, False
        return hits

    def merge(self, other: MeanAveragePrecision) -> None:
        """Take in what ``other`` was shown; its images come behind those that are here."""
        for one in other._detections:
            moved = one.copy()
            moved[:, 2] += self._images
            self._detections.append(moved)
        self._boxes += other._boxes
        self._images += other._images

    def compute(self) -> float:
        """The value so far; NaN without boxes."""
        classes, counts = np.unique(np.concatenate([np.zeros(0), *self._boxes]), return_counts=True)
        if not len(classes):
            return float("nan")
        everything = np.concatenate([np.zeros((0, 3 + len(self.thresholds))), *self._detections])
        values = [self._of(everything[everything[:, 0] == label], n) for label, n in zip(classes, counts, strict=True)]
        return float(np.mean(values))

    def _of(self, detections: Array, boxes: int) -> float:
        """The mean over the thresholds of one class's average precision."""
        if not len(detections):
            return 0.0
        order = np.lexsort((detections[:, 2], -detections[:, 1]))
        right = np.cumsum(detections[order, 3:], axis=0)  # (detections, thresholds)
        precision = right / np.arange(1, len(order) + 1)[:, None]
        precision = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
        total = 0.0
        for column in range(right.shape[1]):
            places = np.searchsorted(right[:, column] / boxes, _RECALLS, side="left")
            total += float(np.append(precision[:, column], 0.0)[places].mean())
        return total / right.shape[1]


def overlap(a: Array, b: Array) -> Array:
    """Intersection over union of boxes (n, 4) and (m, 4) of x1, y1, x2, y2: (n, m); 0 of boxes without area."""
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    shared = np.maximum(sides, 0).prod(-1)
    union = (a[:, 2:] - a[:, :2]).prod(-1)[:, None] + (b[:, 2:] - b[:, :2]).prod(-1)[None] - shared
    ratio: Array = shared / np.where(union > 0, union, 1)
    return ratio


def _detected(outputs: Any) -> list[Array]:
    """For each image its detections (K, 6)."""
    return _images(outputs, 6, ("boxes", "scores", "labels"))


def _true(target: Any) -> list[Array]:
    """For each image its boxes (M, 5)."""
    return _images(target, 5, ("boxes", "labels"))


def _images(given: Tensor | Array | Sequence[Mapping[str, Any]], width: int, names: tuple[str, ...]) -> list[Array]:
    if isinstance(given, (list, tuple)):
        images = []
        for one in given:
            boxes, *rest = (in_memory(one[name]).astype(np.float64) for name in names)
            images.append(np.column_stack([boxes.reshape(-1, 4), *rest]))
        return images
    array = in_memory(given).astype(np.float64)  # type: ignore[arg-type]
    if array.ndim != 3 or array.shape[2] != width:
        raise ValueError(f"expected a list of mappings with {', '.join(names)}, or (N, K, {width}), got {array.shape}")
    return [image[image[:, -1] >= 0] for image in array]
