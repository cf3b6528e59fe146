"""Schedulers that follow a cosine."""

from __future__ import annotations

import math
from typing import Any

from torchlite.optim.lr_scheduler.scheduler import LRScheduler, Rate
from torchlite.optim.optimizer import Optimizer


def between(start: Any, end: Any, share: float) -> Any:
    """Half a cosine from ``start`` to ``end``: end + (start - end) · (1 + cos(π share)) / 2."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the initial rate down to ``eta_min`` in ``T_max`` steps, and up again (Loshchilov & Hutter, 2017).

    lr(t) = eta_min + (lr₀ - eta_min) · (1 + cos(π t / T_max)) / 2. A step goes on from the present rate:

    lr(t) = eta_min + (lr(t - 1) - eta_min) · (1 + cos(π t / T_max)) / (1 + cos(π (t - 1) / T_max)).
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def _rates(self) -> list[Rate]:
        groups, step = self.optimizer.param_groups, self.last_epoch
        if self._is_initial:
            return [group["lr"] for group in groups]
        if self._step_count == 1 and step > 0:
            return self._get_closed_form_lr()
        if (step - 1 - self.T_max) % (2 * self.T_max) == 0:  # the step before was at the bottom: no ratio to it
            rise = (1 - math.cos(math.pi / self.T_max)) / 2
            return [
                group["lr"] + (base - self.eta_min) * rise for base, group in zip(self.base_lrs, groups, strict=True)
            ]
        height, height_before = (1 + math.cos(math.pi * t / self.T_max) for t in (step, step - 1))
        return [self.eta_min + (group["lr"] - self.eta_min) * (height / height_before) for group in groups]

    def _get_closed_form_lr(self) -> list[Rate]:
        return [between(base, self.eta_min, self.last_epoch / self.T_max) for base in self.base_lrs]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a cosine down to ``eta_min``, again and again (Loshchilov & Hutter, 2017).

    lr(t) = eta_min + (lr₀ - eta_min) · (1 + cos(π T_cur / T_i)) / 2 with T_cur steps since the last restart and T_i between
    this restart and the next: first ``T_0``, then ``T_mult`` times as many each time.

    Raises:
        ValueError: for a ``T_0`` that is no positive integer, a ``T_mult`` that is no integer ≥ 1, an ``eta_min`` that is no
            number, or a negative step.
    """

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        if T_0 <= 0 or not isinstance(T_0, int):
            raise ValueError(f"Expected positive integer T_0, but got {T_0}")
        if T_mult < 1 or not isinstance(T_mult, int):
            raise ValueError(f"Expected integer T_mult >= 1, but got {T_mult}")
        if not isinstance(eta_min, (float, int)):
            raise ValueError(f"Expected float or int eta_min, but got {eta_min} of type {type(eta_min)}")
        self.T_0 = T_0
        self.T_i = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def _rates(self) -> list[Rate]:
        return [between(base, self.eta_min, self.T_cur / self.T_i) for base in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        """Go one step on.

        Args:
            epoch: the step to jump to, which may be a fraction: ``epoch + batch / batches``.
        """
        if epoch is None and self.last_epoch >= 0:
            epoch = self.last_epoch + 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur %= self.T_i
                self.T_i *= self.T_mult
        else:
            epoch = 0 if epoch is None else epoch
            self._jump(epoch)
        self._update_lr(math.floor(epoch))

    def _jump(self, epoch: float) -> None:
        if epoch < 0:
            raise ValueError(f"Expected non-negative epoch, but got {epoch}")
        if epoch < self.T_0:
            self.T_i, self.T_cur = self.T_0, epoch
        elif self.T_mult == 1:
            self.T_cur = epoch % self.T_0
        else:
            restarts = int(math.log(epoch / self.T_0 * (self.T_mult - 1) + 1, self.T_mult))
            self.T_i = self.T_0 * self.T_mult**restarts
            self.T_cur = epoch - (self.T_i - self.T_0) / (self.T_mult - 1)
