"""Logits and targets as rows: which dimension holds the classes, and which places count."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from torchlite._tensor import Tensor
from torchlite.train.metrics.metric import Array, in_memory


class Rows(NamedTuple):
    """A batch, place by place.

    Attributes:
        scores: (n, classes), or (n, labels) where each is decided by itself.
        targets: (n,) of int64, or (n, labels) of bool.
        separate: whether each column is a yes or no of its own.
    """

    scores: Array
    targets: Array
    separate: bool


def rows(outputs: Tensor | Array, target: Tensor | Array, ignore_index: int = -100) -> Rows:
    """A batch of logits and targets as rows.

    Shape: outputs (N, C), (N, T, C) of sequences or (N, C, ...) of images, with a class (N), (N, T) or (N, ...) each;
    or outputs and targets of the same shape (N), (N, 1) or (N, K): a yes or no for each.

    Raises:
        ValueError: for other shapes, and for targets that are no class.
    """
    scores, targets = in_memory(outputs), in_memory(target)
    if scores.shape == targets.shape and scores.ndim <= 2:
        width = scores.shape[1] if scores.ndim == 2 else 1
        return Rows(scores.reshape(-1, width), targets.reshape(-1, width) > 0.5, True)
    if scores.ndim == 2 and scores.shape[1] == 1 and targets.shape == scores.shape[:1]:
        return Rows(scores, targets[:, None] > 0.5, True)
    last, second = scores.shape[:-1] == targets.shape, scores.shape[:1] + scores.shape[2:] == targets.shape
    if scores.ndim < 2 or not (last or second) or targets.dtype.kind not in "iu":
        raise ValueError(
            f"expected outputs (N, C), (N, T, C) or (N, C, ...) with an integer class each, or targets of the same shape, "
            f"got outputs {scores.shape} and targets {targets.shape} of {targets.dtype}"
        )
    if not (last and (scores.ndim <= 3 or not second)):
        scores = np.moveaxis(scores, 1, -1)
    scores, targets = scores.reshape(-1, scores.shape[-1]), targets.reshape(-1).astype(np.int64)
    counted = targets != ignore_index
    scores, targets = scores[counted], targets[counted]
    if targets.size and not 0 <= targets.min() <= targets.max() < scores.shape[1]:
        raise ValueError(
            f"expected targets from 0 to {scores.shape[1] - 1} (or {ignore_index}, which is ignored), got from "
            f"{targets.min()} to {targets.max()}"
        )
    return Rows(scores, targets, False)


def average_of(values: Array, weights: Array, average: str, counted: Any) -> float | list[float]:
    """Values of classes as one: the mean over the classes that are ``counted``, or weighted by how frequent they are.

    Every value by itself where ``average`` is "none"; NaN where no class is counted.
    """
    if average == "none":
        return [float(value) for value in values]
    values, weights = values[counted], weights[counted] if average == "weighted" else np.ones(np.count_nonzero(counted))
    return float((values * weights).sum() / weights.sum()) if weights.sum() else float("nan")
