"""The learning rate in the course of a training: what each optimizer step begins with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

from torchlite.optim import Optimizer, lr_scheduler
from torchlite.optim.lr_scheduler.scheduler import note_step
from torchlite.train.config.parts import Mode
from torchlite.train.config.schedules import (
    CosineSchedule,
    ReduceLROnPlateau,
    Schedule,
    SchedulerSchedule,
    StepSchedule,
)


class Course(Protocol):
    """Sets the hyper-parameters that change; step after step, or from the beginning after a resume."""

    watches: str | None
    """The measured value that it depends on."""

    def begin(self, step: int) -> None:
        """Set the learning rates of optimizer step ``step`` (from 0)."""

    def measured(self, value: float) -> None:
        """Take note of what an evaluation has measured."""


class Courses:
    """The courses of several optimizers."""

    def __init__(self, courses: Sequence[Course]) -> None:
        self._courses = list(courses)
        self.watches = self._courses[0].watches

    def begin(self, step: int) -> None:
        """Set the learning rates of all."""
        for course in self._courses:
            course.begin(step)

    def measured(self, value: float) -> None:
        """Tell all of them."""
        for course in self._courses:
            course.measured(value)


def make_course(
    schedule: Schedule, optimizer: Optimizer, total: int, steps_per_epoch: int, monitor: str, mode: Mode
) -> Course:
    """The course that ``schedule`` describes.

    Args:
        schedule: of the configuration.
        optimizer: whose learning rates to set.
        total, steps_per_epoch: in optimizer steps.
        monitor, mode: the value that `ReduceLROnPlateau` watches where it does not say which.

    Raises:
        ValueError: when the optimizer can't have this schedule.
    """
    warmup = schedule.warmup.steps(steps_per_epoch) if schedule.warmup is not None else 0
    note_step(optimizer)  # after a resume the scheduler's steps come before the optimizer's
    if isinstance(schedule, ReduceLROnPlateau):
        options = schedule.model_dump(exclude={"type", "warmup", "monitor", "mode"})
        scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, schedule.mode or mode, **options)
        return _Scheduled(scheduler, warmup, None, schedule.monitor or monitor)
    if isinstance(schedule, SchedulerSchedule):
        every = schedule.every.steps(steps_per_epoch)
        return _Scheduled(_scheduler(schedule, optimizer, max((total - warmup) // every, 1)), warmup, every, None)
    return _Formula(schedule, optimizer, total, steps_per_epoch)


def _scheduler(schedule: Any, optimizer: Optimizer, length: int) -> Any:
    """The scheduler of PyTorch's name; ``length`` is the number of its steps in the whole training."""
    arguments = schedule.arguments()
    if schedule.whole is not None:
        arguments.setdefault(schedule.whole, length)
    if "schedulers" in arguments:
        arguments["schedulers"] = [_scheduler(part, optimizer, length) for part in schedule.schedulers]
    return getattr(lr_scheduler, schedule.type)(optimizer=optimizer, **arguments)


class _Formula:
    """The learning rate as a function of the step."""

    watches: str | None = None

    def __init__(self, schedule: Schedule, optimizer: Optimizer, total: int, steps_per_epoch: int) -> None:
        self._schedule = schedule
        self._optimizer = optimizer
        self._bases = [float(group["lr"]) for group in optimizer.param_groups]
        self._total = total
        self._steps_per_epoch = steps_per_epoch

    def begin(self, step: int) -> None:
        for group, base in zip(self._optimizer.param_groups, self._bases, strict=True):
            group["lr"] = learning_rate(self._schedule, base, step, self._total, self._steps_per_epoch)

    def measured(self, value: float) -> None:
        pass


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


class _Scheduled:
    """A scheduler that steps behind the warm-up, or with what is measured where ``every`` is None.

    After a resume it takes all its steps again, so there is nothing of it to save.
    """

    def __init__(self, scheduler: Any, warmup: int, every: int | None, watches: str | None) -> None:
        self._scheduler = scheduler
        self._warmup = warmup
        self._every = every
        self._steps = 0
        self.watches = watches

    def begin(self, step: int) -> None:
        groups = self._scheduler.optimizer.param_groups
        self._set(groups, 1.0)
        while self._every is not None and self._steps < (step - self._warmup) // self._every:
            self._scheduler.step()
            self._steps += 1
        if step < self._warmup:
            self._set(groups, (step + 1) / self._warmup)

    def _set(self, groups: list[dict[str, Any]], share: float) -> None:
        for group, rate in zip(groups, self._scheduler.get_last_lr(), strict=True):
            group["lr"] = rate * share

    def measured(self, value: float) -> None:
        self._set(self._scheduler.optimizer.param_groups, 1.0)
        self._scheduler.step(value)
