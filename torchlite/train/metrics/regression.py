"""Metrics of numbers."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from torchlite._tensor import Tensor
from torchlite.train.metrics.metric import Array, Metric, in_memory


def _pairs(outputs: Tensor, target: Tensor) -> tuple[Array, Array]:
    """Outputs and targets of the same shape (N, ...) in float64."""
    given, wanted = in_memory(outputs), in_memory(target)
    if given.shape != wanted.shape:
        raise ValueError(f"expected outputs and targets of the same shape, got {given.shape} and {wanted.shape}")
    return given.astype(np.float64), wanted.astype(np.float64)


class _MeanError(Metric):
    kept = ("total", "count")

    def __init__(self) -> None:
        self.total = 0.0
        self.count = 0

    def update(self, outputs: Tensor, target: Tensor) -> None:
        """Take in a batch."""
        given, wanted = _pairs(outputs, target)
        self.total += float(self._error(given - wanted).sum())
        self.count += given.size

    def compute(self) -> float:
        """The mean so far; NaN of nothing."""
        return self.total / self.count if self.count else float("nan")

    def _error(self, difference: Array) -> Any:
        return np.square(difference)


class MSE(_MeanError):
    """The mean of squared differences."""


class RMSE(_MeanError):
    """The square root of the mean of squared differences."""

    def compute(self) -> float:
        """The root so far; NaN of nothing."""
        return float(np.sqrt(super().compute()))


class MAE(_MeanError):
    """The mean of absolute differences."""

    def _error(self, difference: Array) -> Any:
        return np.abs(difference)


class R2(Metric):
    """The coefficient of determination 1 - Σ (y - ŷ)² / Σ (y - ȳ)², its mean over the columns of the targets.

    A column whose targets are all the same gives 1 where it is met exactly, and else 0; fewer than two samples give NaN.
    """

    kept = ("count", "mean", "spread", "residual")
    additive = False

    def __init__(self) -> None:
        self.count = 0
        self.mean: Array = np.zeros(())
        self.spread: Array = np.zeros(())
        self.residual: Array = np.zeros(())

    def update(self, outputs: Tensor, target: Tensor) -> None:
        """Take in a batch."""
        given, wanted = (x.reshape(len(x), -1) for x in _pairs(outputs, target))
        if len(wanted):
            mean = wanted.mean(0)
            self._add(len(wanted), mean, np.square(wanted - mean).sum(0), np.square(given - wanted).sum(0))

    def merge(self, other: Self) -> None:
        """Take in what ``other`` was shown."""
        if other.count:
            self._add(other.count, other.mean, other.spread, other.residual)

    def _add(self, count: int, mean: Array, spread: Array, residual: Array) -> None:
        """Put two sets together (Chan, Golub and LeVeque, 1983): no large squares that cancel."""
        total, shift = self.count + count, mean - self.mean
        self.spread = self.spread + spread + np.square(shift) * (self.count * count / total)
        self.mean = self.mean + shift * (count / total)
        self.residual = self.residual + residual
        self.count = total

    def compute(self) -> float:
        """The value so far."""
        if self.count < 2:
            return float("nan")
        constant = self.spread == 0
        explained = 1 - self.residual / np.where(constant, 1, self.spread)
        return float(np.where(constant, np.where(self.residual == 0, 1.0, 0.0), explained).mean())
