"""Metrics of language models: how well what follows was foreseen."""

from __future__ import annotations

import math

import numpy as np

from torchlite._tensor import Tensor
from torchlite.train.metrics.labels import rows
from torchlite.train.metrics.metric import MeanOfRows, log_softmax


class _Surprise(MeanOfRows):
    """The mean of -log p(target), in nats."""

    def update(self, outputs: Tensor, target: Tensor) -> None:
        """Take in a batch."""
        scores, targets, separate = rows(outputs, target, self.ignore_index)
        if separate:
            raise ValueError(f"{type(self).__name__} needs logits of several classes and integer targets")
        self.total -= float(np.take_along_axis(log_softmax(scores), targets[:, None], 1).sum())
        self.count += len(targets)


class Perplexity(_Surprise):
    """exp of the mean of -log p(target): among how many equally likely tokens the model seems to choose.

    Args:
        ignore_index: the target that is not counted.
    """

    def compute(self) -> float:
        """The perplexity so far; infinite where it is too large for a number."""
        try:
            return math.exp(self.mean())
        except OverflowError:
            return math.inf


class BitsPerCharacter(_Surprise):
    """The mean of -log2 p(target): the bits that a character takes where the model compresses the text.

    Args:
        ignore_index: the target that is not counted.
    """

    def compute(self) -> float:
        """The bits so far; NaN of nothing."""
        return self.mean() / math.log(2)
