"""What metrics have in common: a state of named numbers and arrays that is saved, restored and merged."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np

from torchlite import backends
from torchlite._tensor import Tensor

Array = np.ndarray[Any, Any]


class Metric(ABC):
    """A value of everything that was shown.

    Attributes:
        kept: the names of the attributes that are its state; `merge` adds them unless the metric says otherwise.
        additive: whether the state of several samples is the sum of the states of each.
    """

    kept: ClassVar[tuple[str, ...]]
    additive: ClassVar[bool] = True

    @abstractmethod
    def update(self, outputs: Any, target: Any) -> None:
        """Take in a batch."""

    @abstractmethod
    def compute(self) -> Any:
        """The value so far: a number, one for each class, or a matrix."""

    def merge(self, other: Self) -> None:
        """Take in what ``other`` was shown; the result is that of one metric that was shown both."""
        for name in self.kept:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def state(self) -> dict[str, Any]:
        """All there is to save."""
        return {name: copy.copy(getattr(self, name)) for name in self.kept}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        for name in self.kept:
            setattr(self, name, copy.copy(state[name]))


def in_memory(tensor: Tensor | Array) -> Array:
    """A tensor as an array in host memory; bfloat16 as float32, whose sums are exact enough."""
    array = backends.to_numpy(tensor._data) if isinstance(tensor, Tensor) else np.asarray(tensor)
    return array.astype(np.float32) if array.dtype.kind not in "biuf" else array


def log_softmax(logits: Array) -> Array:
    """The logarithms of the softmax over the last dimension, in float64."""
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True, initial=-np.inf)
    logs: Array = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return logs


class MeanOfRows(Metric):
    """A mean over all that is counted, of a total that subclasses add up in `update`."""

    kept = ("total", "count")

    def __init__(self, ignore_index: int = -100) -> None:
        self.ignore_index = ignore_index
        self.total = 0.0
        self.count = 0

    def mean(self) -> float:
        """The mean so far; NaN of nothing."""
        return self.total / self.count if self.count else float("nan")
