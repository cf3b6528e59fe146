"""The learning rate as a function of the step: nothing to save, nothing to get out of step on resume."""

from __future__ import annotations

import math

from torchlite.train.config.schema import CosineSchedule, Schedule, StepSchedule


def learning_rate(schedule: Schedule, base: float, step: int, total: int, steps_per_epoch: int) -> float:
    """The rate of optimizer step ``step`` (from 0) of ``total``.

    A warm-up of w steps gives base · (step + 1) / w; behind it, with t of T steps done, cosine gives
    min_lr + (base - min_lr) · (1 + cos(π t / T)) / 2 and step gives base · gamma^⌊t / every⌋.
    """
    warmup = schedule.warmup.steps(steps_per_epoch) if schedule.warmup is not None else 0
    if step < warmup:
        return base * (step + 1) / warmup
    done, length = step - warmup, max(total - warmup, 1)
    if isinstance(schedule, CosineSchedule):
        return schedule.min_lr + (base - schedule.min_lr) * (1 + math.cos(math.pi * done / length)) / 2
    if isinstance(schedule, StepSchedule):
        return float(base * schedule.gamma ** (done // schedule.every.steps(steps_per_epoch)))
    return base
