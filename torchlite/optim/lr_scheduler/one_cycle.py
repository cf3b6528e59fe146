"""A learning rate that goes up once and down for the rest of the training."""

from __future__ import annotations

from typing import Any, Literal

from torchlite.optim.lr_scheduler.cosine import between
from torchlite.optim.lr_scheduler.momentum import CyclesMomentum
from torchlite.optim.lr_scheduler.scheduler import Rate, checked_optimizer, per_group
from torchlite.optim.optimizer import Optimizer


class OneCycleLR(CyclesMomentum):
    """Up from max_lr / div_factor to ``max_lr`` and down to that / final_div_factor (Smith & Topin, 2018).

    The momentum goes down while the rate goes up, and back.

    Args:
        optimizer: whose learning rates to set.
        max_lr: the highest rate, for all groups or one for each.
        total_steps: length of the whole, or None with ``epochs`` and ``steps_per_epoch``.
        epochs, steps_per_epoch: their product is the length.
        pct_start: the share of the length that goes up.
        anneal_strategy: "cos" for half a cosine, "linear" for straight lines.
        cycle_momentum: whether to move the momentum, or Adam's first beta, against the learning rate.
        base_momentum, max_momentum: its limits, for all groups or one for each.
        div_factor: how many times smaller than ``max_lr`` the first rate is.
        final_div_factor: how many times smaller than the first the last rate is.
        three_phase: go down to the first rate in as many steps as up, and only then to the last.
        last_epoch: index of the step before the first; -1 starts afresh.

    Raises:
        ValueError: for an argument out of range, an optimizer without momentum to cycle, a step behind the end.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        self.optimizer = checked_optimizer(optimizer)
        self.total_steps = _length(total_steps, epochs, steps_per_epoch)
        if not isinstance(pct_start, float) or not 0 <= pct_start <= 1:
            raise ValueError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        self._schedule_phases = _phases(self.total_steps, pct_start, three_phase)
        self._anneal_func_type = anneal_strategy
        max_lrs = per_group("max_lr", optimizer, max_lr)
        if last_epoch == -1:
            for group, highest in zip(optimizer.param_groups, max_lrs, strict=True):
                first = highest / div_factor
                group.update(initial_lr=first, max_lr=highest, min_lr=first / final_div_factor)
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self._begin_momentum(base_momentum, max_momentum, last_epoch == -1)
        super().__init__(optimizer, last_epoch)

    def _rates(self) -> list[Rate]:
        """Also sets the momentums, as PyTorch's `get_lr` does."""
        step = self.last_epoch
        if step > self.total_steps:
            raise ValueError(f"Tried to step {step} times. The specified number of total steps is {self.total_steps}")
        begin = 0.0
        for phase in self._schedule_phases[:-1]:
            if step <= phase["end_step"]:
                break
            begin = phase["end_step"]
        else:
            phase = self._schedule_phases[-1]
        share = (step - begin) / (phase["end_step"] - begin)
        for group in self.optimizer.param_groups if self.cycle_momentum else ():
            self._set_momentum(group, self._between(group, phase, "momentum", share))
        return [self._between(group, phase, "lr", share) for group in self.optimizer.param_groups]

    def _between(self, group: dict[str, Any], phase: dict[str, Any], what: str, share: float) -> Any:
        start, end = group[phase[f"start_{what}"]], group[phase[f"end_{what}"]]
        return between(start, end, share) if self._anneal_func_type == "cos" else start + (end - start) * share


def _length(total_steps: int | None, epochs: int | None, steps_per_epoch: int | None) -> int:
    if total_steps is None and (epochs is None or steps_per_epoch is None):
        raise ValueError("You must define either total_steps OR (epochs AND steps_per_epoch)")
    given = {"total_steps": total_steps}
    if total_steps is None:
        given = {"epochs": epochs, "steps_per_epoch": steps_per_epoch}
    length = 1
    for name, value in given.items():
        if not isinstance(value, int) or value <= 0:
            raise ValueError(f"Expected positive integer {name}, but got {value}")
        length *= value
    return length


def _phases(total: int, rising: float, three_phase: bool) -> list[dict[str, Any]]:
    """The last step of each phase, and which entries of a group it leads from and to."""
    rows: list[tuple[float, str, str, str, str]] = [
        (float(rising * total) - 1, "initial_lr", "max_lr", "max_momentum", "base_momentum")
    ]
    if three_phase:
        rows.append((float(2 * rising * total) - 2, "max_lr", "initial_lr", "base_momentum", "max_momentum"))
        rows.append((total - 1, "initial_lr", "min_lr", "max_momentum", "max_momentum"))
    else:
        rows.append((total - 1, "max_lr", "min_lr", "base_momentum", "max_momentum"))
    names = ("end_step", "start_lr", "end_lr", "start_momentum", "end_momentum")
    return [dict(zip(names, row, strict=True)) for row in rows]
