"""A learning rate that goes up and down between two limits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

from torchlite.optim.lr_scheduler.functions import function_state
from torchlite.optim.lr_scheduler.momentum import CyclesMomentum
from torchlite.optim.lr_scheduler.scheduler import Rate, checked_optimizer, per_group, set_value
from torchlite.optim.optimizer import Optimizer


class CyclicLR(CyclesMomentum):
    """Straight lines up from ``base_lr`` to ``max_lr`` and down again (Smith, 2017).

    lr(t) = base_lr + (max_lr - base_lr) · h(t) · s with h going from 0 to 1 in ``step_size_up`` steps and back in
    ``step_size_down``; the momentum is max_momentum - (max_momentum - base_momentum) · h(t) · s.

    Args:
        optimizer: whose learning rates to set.
        base_lr, max_lr: limits of the learning rate, for all groups or one for each.
        step_size_up, step_size_down: steps of the way up and of the way down (as many where None).
        mode: "triangular" (s = 1), "triangular2" (s halves with every cycle), "exp_range" (s = gamma^t).
        gamma: of "exp_range".
        scale_fn: s as a function of the cycle (from 1) or the step; ``mode`` is then ignored.
        scale_mode: "cycle" or "iterations", the argument of ``scale_fn``.
        cycle_momentum: whether to move the momentum, or Adam's first beta, against the learning rate.
        base_momentum, max_momentum: its limits, for all groups or one for each.
        last_epoch: index of the step before the first; -1 starts afresh.

    Raises:
        ValueError: for an unknown mode, a list of another length, or an optimizer without momentum to cycle.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: Literal["cycle", "iterations"] = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float = 0.8,
        max_momentum: float = 0.9,
        last_epoch: int = -1,
    ) -> None:
        self.optimizer = checked_optimizer(optimizer)
        base_lrs = per_group("base_lr", optimizer, base_lr)
        self.max_lrs = per_group("max_lr", optimizer, max_lr)
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ValueError(f"CyclicLR: mode {mode!r} is invalid and scale_fn is None")
        if last_epoch == -1:
            for group, lr in zip(optimizer.param_groups, base_lrs, strict=True):
                set_value(group, "lr", lr)
        up = float(step_size_up)
        self.total_size = up + (up if step_size_down is None else float(step_size_down))
        self.step_ratio = up / self.total_size
        self.mode = mode
        self.gamma = gamma
        self._scale_fn_custom = scale_fn
        self.scale_mode = scale_mode
        if scale_fn is None:
            self.scale_mode = "iterations" if mode == "exp_range" else "cycle"
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            limits = self._begin_momentum(base_momentum, max_momentum, last_epoch == -1)
            self.base_momentums, self.max_momentums = limits
        super().__init__(optimizer, last_epoch)
        self.base_lrs = base_lrs

    def scale_fn(self, x: float) -> float:
        """How high the cycle, or step, ``x`` rises, as a share of the whole height."""
        if self._scale_fn_custom is not None:
            return self._scale_fn_custom(x)
        if self.mode == "exp_range":
            return float(self.gamma**x)
        return 0.5 ** (x - 1) if self.mode == "triangular2" else 1.0

    def _rates(self) -> list[Rate]:
        """Also sets the momentums, as PyTorch's `get_lr` does."""
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        place = 1 + self.last_epoch / self.total_size - cycle
        height = place / self.step_ratio if place <= self.step_ratio else (place - 1) / (self.step_ratio - 1)
        height *= self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            groups = self.optimizer.param_groups
            for group, low, high in zip(groups, self.base_momentums, self.max_momentums, strict=True):
                self._set_momentum(group, high - (high - low) * height)
        return [low + (high - low) * height for low, high in zip(self.base_lrs, self.max_lrs, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer and a scale function; of a callable object its attributes."""
        custom = self._scale_fn_custom
        return {**super().state_dict(), "_scale_fn_custom": None if custom is None else function_state(custom)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state; the scale function is that given to the constructor."""
        super().load_state_dict({name: value for name, value in state_dict.items() if name != "_scale_fn_custom"})
        if state_dict["_scale_fn_custom"] is not None:
            vars(self._scale_fn_custom).update(state_dict["_scale_fn_custom"])
