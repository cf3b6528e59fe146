"""Searching for a learning rate and a batch size by short trials; nothing is trained for good."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from torchlite.errors import NonFiniteLossError, UsageError
from torchlite.serialization.atomic import write_file
from torchlite.train.config.diagnostics import Findings, Fix
from torchlite.train.config.document import Mapping, Scalar
from torchlite.train.config.extends import load_tree
from torchlite.train.config.fixes import fixed_text
from torchlite.train.config.load import require_config
from torchlite.train.config.schema import Config
from torchlite.train.loop import make_update, take_step
from torchlite.train.plan import Plan, make_plan
from torchlite.train.profiling import endless
from torchlite.train.progress import start
from torchlite.train.updating import Update

_SMOOTHING = 0.9
_DIVERGED = 4.0
_GAIN = 1.05


@dataclass(frozen=True)
class RateTrial:
    """The loss at a learning rate, smoothed over those before it."""

    lr: float
    loss: float


def try_rates(config: Config, low: float, high: float, steps: int) -> list[RateTrial]:
    """One step at each of ``steps`` learning rates between ``low`` and ``high``, in equal factors.

    Ends where the smoothed loss is four times the least, or no longer finite.
    """
    plan = make_plan(config)
    _refuse_own_step(plan)
    update, progress = _update(plan), start(plan)
    trials: list[RateTrial] = []
    mean, least = 0.0, math.inf
    plan.model.train()
    for number, group in enumerate(islice(endless(plan), steps)):
        lr = low * (high / low) ** (number / max(1, steps - 1))
        for optimizer in plan.optimizers.values():
            for parameters in optimizer.param_groups:
                parameters["lr"] = lr
        try:
            loss = update(group.batches)
        except ArithmeticError:
            break
        mean = _SMOOTHING * mean + (1 - _SMOOTHING) * loss
        smoothed = mean / (1 - _SMOOTHING ** (number + 1))
        trials.append(RateTrial(lr, smoothed))
        least = min(least, smoothed)
        if smoothed > _DIVERGED * least:
            break
        progress.step += 1
    return trials


def suggested_rate(trials: list[RateTrial]) -> float:
    """The learning rate where the loss falls fastest, by the logarithm of the rate, before its least value.

    Raises:
        UsageError: when the loss does not fall anywhere.
    """
    end = min(range(len(trials)), key=lambda i: trials[i].loss, default=0)
    reach = max(1, len(trials) // 20)
    slopes = {
        i: (trials[i + reach].loss - trials[i - reach].loss) / math.log(trials[i + reach].lr / trials[i - reach].lr)
        for i in range(reach, min(end + 1, len(trials) - reach))
    }
    if not slopes or min(slopes.values()) >= 0:
        raise UsageError("the loss falls at no learning rate of this range: try another with --from and --to")
    return trials[min(slopes, key=lambda i: slopes[i])].lr


@dataclass(frozen=True)
class BatchTrial:
    """How fast steps are with a batch size."""

    size: int
    samples_per_second: float
    failed: str | None = None


def try_batches(path: Path, overrides: list[str], sizes: list[int], seconds: float) -> list[BatchTrial]:
    """Steps with each batch size for ``seconds``; ends with the first that does not fit into memory."""
    trials = []
    for size in sizes:
        try:
            plan = make_plan(require_config(path, [*overrides, f"data.batch_size={size}"]))
            trials.append(BatchTrial(size, _speed(plan, seconds)))
        except MemoryError as error:
            trials.append(BatchTrial(size, 0.0, f"out of memory: {error}"))
            break
    return trials


def suggested_batch(trials: list[BatchTrial]) -> int:
    """The smallest batch size that is within 5 % of the fastest.

    Raises:
        UsageError: when none fits into memory.
    """
    good = [trial for trial in trials if trial.failed is None]
    if not good:
        raise UsageError("no batch size fits into memory")
    best = max(trial.samples_per_second for trial in good)
    return next(trial.size for trial in good if trial.samples_per_second * _GAIN >= best)


def _speed(plan: Plan, seconds: float) -> float:
    update, progress = _update(plan) if plan.own_step is None else make_update(plan, start(plan)), start(plan)
    plan.model.train()
    samples, spent = 0, 0.0
    for number, group in enumerate(endless(plan)):
        begun = time.perf_counter()
        try:
            step = take_step(plan, progress, group, update)
        except NonFiniteLossError:
            break
        if number:  # the first allocates
            samples, spent = samples + step.samples, spent + time.perf_counter() - begun + group.waited
        if spent > seconds:
            break
    return samples / spent if spent else 0.0


def _update(plan: Plan) -> Update:
    plan.compiled = False
    made = make_update(plan, start(plan))
    assert isinstance(made, Update)
    return made


def _refuse_own_step(plan: Plan) -> None:
    if plan.own_step is not None:
        raise UsageError("train.step is a step of one's own: what it does with a learning rate is not known")


def write_value(path: Path, section: str, key: str, text: str) -> None:
    """Put a number into a configuration file where the old one stands; everything else in it stays.

    Raises:
        UsageError: when the value stands in no place of this file.
    """
    findings = Findings(str(path))
    tree = load_tree(path, findings)
    inside = tree.root.get(section) if tree is not None else None
    value = inside.get(key) if isinstance(inside, Mapping) else None
    if not isinstance(value, Scalar):
        raise UsageError(f"'{path}' has no {section}.{key} to write to: write {section}.{key}: {text} yourself")
    at = value.at
    if Path(at.file) != path:
        raise UsageError(f"{section}.{key} stands in {at.file}:{at.line}, which others may use, too: change it there")
    fix = Fix(at.line, at.col, at.end_col, text)
    write_file(path, [fixed_text(path.read_text(encoding="utf-8"), [fix]).encode()])
