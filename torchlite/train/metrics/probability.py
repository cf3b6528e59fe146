"""Metrics of probabilities: how far they are from what happened."""

from __future__ import annotations

import numpy as np

from torchlite._tensor import Tensor
from torchlite.train.metrics.labels import rows
from torchlite.train.metrics.metric import MeanOfRows, log_softmax


class Brier(MeanOfRows):
    """The mean squared difference of probabilities and what happened (Brier, 1950): 0 is perfect.

    Of yes or no the mean of (σ(x) - y)²; of several classes of Σ (p - y)² over them, halved where there are two, so that it is the
    same for one logit and for two.

    Args:
        ignore_index: the target that is not counted.
    """

    def update(self, outputs: Tensor, target: Tensor) -> None:
        """Take in a batch."""
        scores, targets, separate = rows(outputs, target, self.ignore_index)
        if separate:
            probabilities = 0.5 * (1 + np.tanh(scores.astype(np.float64) / 2))
            self.total += float(np.square(probabilities - targets).sum())
            self.count += targets.size
        else:
            classes = scores.shape[1]
            differences = np.exp(log_softmax(scores)) - (targets[:, None] == np.arange(classes))
            self.total += float(np.square(differences).sum()) / (2 if classes == 2 else 1)
            self.count += len(targets)

    def compute(self) -> float:
        """The score so far; NaN of nothing."""
        return self.mean()
