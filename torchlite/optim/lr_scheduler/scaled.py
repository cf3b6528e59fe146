"""Schedulers that multiply the initial learning rates by a function of the step.

With lr₀ the initial rate and t the step, lr(t) = lr₀ · factor(t). A step multiplies the present rate by
factor(t) / factor(t - 1), so that several such schedulers on one optimizer multiply each other's factors.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable

from torchlite.optim.lr_scheduler.scheduler import LRScheduler, Rate
from torchlite.optim.optimizer import Optimizer


class _ScaledLR(LRScheduler):
    def _factor(self, step: int) -> float:
        """What the initial rates are multiplied by at ``step``."""
        raise NotImplementedError

    def _ratio(self, step: int) -> float:
        """What the rates of the step before are multiplied by at ``step``."""
        raise NotImplementedError

    def _rates(self) -> list[Rate]:
        ratio = self._ratio(self.last_epoch)
        return [group["lr"] * ratio for group in self.optimizer.param_groups]

    def _get_closed_form_lr(self) -> list[Rate]:
        factor = self._factor(self.last_epoch)
        return [base * factor for base in self.base_lrs]


class StepLR(_ScaledLR):
    """Times ``gamma`` every ``step_size`` steps: lr₀ · gamma^⌊t / step_size⌋."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _factor(self, step: int) -> float:
        return self.gamma ** (step // self.step_size)

    def _ratio(self, step: int) -> float:
        return 1.0 if step == 0 or step % self.step_size else self.gamma


class MultiStepLR(_ScaledLR):
    """Times ``gamma`` at each of the ``milestones``: lr₀ · gamma^(number of milestones ≤ t)."""

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones = Counter(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _factor(self, step: int) -> float:
        return self.gamma ** bisect_right(sorted(self.milestones.elements()), step)

    def _ratio(self, step: int) -> float:
        return self.gamma ** self.milestones[step]


class ConstantLR(_ScaledLR):
    """Times ``factor`` before step ``total_iters``: lr₀ · (factor if t < total_iters else 1).

    Raises:
        ValueError: for a factor outside [0, 1].
    """

    def __init__(
        self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        if not 0 <= factor <= 1:
            raise ValueError(f"Constant multiplicative factor expected to be between 0 and 1, got {factor}")
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def _factor(self, step: int) -> float:
        return self.factor if step < self.total_iters else 1.0

    def _ratio(self, step: int) -> float:
        if step == 0:
            return self.factor
        return 1.0 / self.factor if step == self.total_iters else 1.0


class LinearLR(_ScaledLR):
    """A straight line, for a warm-up: lr₀ · (start + (end - start) · min(t, total_iters) / total_iters).

    Raises:
        ValueError: for a ``start_factor`` outside (0, 1] or an ``end_factor`` outside [0, 1].
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1:
            raise ValueError(f"start_factor must be above 0 and at most 1, got {start_factor}")
        if not 0 <= end_factor <= 1:
            raise ValueError(f"end_factor must be between 0 and 1, got {end_factor}")
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def _factor(self, step: int) -> float:
        rise = self.end_factor - self.start_factor
        return self.start_factor + rise * min(self.total_iters, step) / self.total_iters

    def _ratio(self, step: int) -> float:
        if step == 0:
            return self.start_factor
        if self._is_initial or step > self.total_iters:
            return 1.0
        rise = self.end_factor - self.start_factor
        return 1.0 + rise / (self.total_iters * self.start_factor + (step - 1) * rise)


class ExponentialLR(_ScaledLR):
    """Times ``gamma`` every step: lr₀ · gamma^t."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _factor(self, step: int) -> float:
        return self.gamma**step

    def _ratio(self, step: int) -> float:  # noqa: ARG002 - the same at every step
        return 1.0 if self._is_initial else self.gamma


class PolynomialLR(_ScaledLR):
    """Down to 0 along a power: lr₀ · (1 - min(t, total_iters) / total_iters)^power."""

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    def _factor(self, step: int) -> float:
        return float((1.0 - min(self.total_iters, step) / self.total_iters) ** self.power)

    def _ratio(self, step: int) -> float:
        if self._is_initial or step > self.total_iters:
            return 1.0
        left, left_before = (1.0 - t / self.total_iters for t in (step, step - 1))
        return float((left / left_before) ** self.power)
