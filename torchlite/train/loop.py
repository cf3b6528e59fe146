"""The training loop, to be read from top to bottom."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Literal, NamedTuple, Protocol

from torchlite.errors import NonFiniteLossError, OutOfMemoryError
from torchlite.train.checkpoint import CheckpointStore
from torchlite.train.data import batch_indices, batches
from torchlite.train.evaluation import evaluate, numbers
from torchlite.train.metrics import Mean
from torchlite.train.metrics_log import MetricsLog
from torchlite.train.own_step import StepContext, checked_reports
from torchlite.train.plan import Plan
from torchlite.train.progress import Progress, capture
from torchlite.train.updating import Batch, CompiledUpdate, LossNotFinite, Update

Ending = Literal["finished", "stopped early", "paused", "interrupted"]


class Step(NamedTuple):
    """What one optimizer step was like."""

    loss: float
    lr: float
    samples: int
    seconds: float
    waited: float


class Observer(Protocol):
    """Is told what happens; displays and loggers are observers."""

    def started(self, plan: Plan, progress: Progress) -> None:
        """The run is about to take its first step."""

    def stepped(self, progress: Progress, step: Step) -> None:
        """An optimizer step is done."""

    def evaluated(self, progress: Progress, row: dict[str, float], best: bool) -> None:
        """The model was evaluated."""

    def saved(self, progress: Progress, folder: Any) -> None:
        """A checkpoint is durable."""

    def ended(self, progress: Progress, ending: Ending) -> None:
        """There will be no further step."""


def fit(
    plan: Plan,
    progress: Progress,
    store: CheckpointStore,
    log: MetricsLog,
    observer: Observer,
    interrupted: Callable[[], bool] = lambda: False,
    pause_at: int | None = None,
) -> Ending:
    """Train until the plan is fulfilled, early stopping says so, step ``pause_at`` is done, or ``interrupted()`` turns true.

    Whatever the ending, the last state is in a checkpoint.

    Raises:
        NonFiniteLossError: when the loss becomes NaN or infinite; the earlier checkpoints stay.
    """
    observer.started(plan, progress)
    plan.model.train()
    update = make_update(plan, progress)
    saved_at = progress.step if progress.step else None
    ending: Ending = "finished"
    for step in steps(plan, progress, update):
        log.append(step_row(progress, step))
        observer.stepped(progress, step)
        last = progress.step == plan.total_steps
        improved = False
        evaluated = evaluates(plan, progress)
        if evaluated:
            row = measure(plan, progress)
            log.append(evaluation_of(progress, row))
            improved = plan.monitor in row and progress.best.update(row[plan.monitor])
            observer.evaluated(progress, row, improved)
            if stop_early(plan, progress, row):
                ending = "stopped early"
        if ending == "finished" and not last and progress.step == pause_at:
            ending = "paused"
        if interrupted():
            ending = "interrupted"
        if isinstance(update, CompiledUpdate):
            progress.compiling = update.learned()
        else:
            progress.pieces = update.pieces
        if progress.step % plan.checkpoint_every == 0 or improved or last or ending != "finished":
            save(plan, progress, store, log, observer, evaluated)
            saved_at = progress.step
        if ending != "finished":
            break
    if saved_at != progress.step:
        save(plan, progress, store, log, observer, evaluated=False)
    observer.ended(progress, ending)
    return ending


def steps(plan: Plan, progress: Progress, update: Update | CompiledUpdate) -> Iterator[Step]:
    """Take one step after the other until the plan is fulfilled; ``progress`` says where that leaves the run."""
    data = plan.config.data
    while progress.step < plan.total_steps:
        indices = batch_indices(
            len(plan.splits.train), data.batch_size, data.drop_last, plan.config.seed, progress.epoch
        )
        plan.splits.train.epoch = progress.epoch
        stream = batches(plan.splits.train, indices[progress.batch :], data.workers, plan.device)
        for group in groups(stream, plan.config.train.accumulate):
            step = take_step(plan, progress, group, update)
            if plan.average is not None:
                plan.average.update(plan.model)
            progress.step += 1
            progress.batch += len(group.batches)
            if progress.batch == len(indices):
                progress.epoch, progress.batch = progress.epoch + 1, 0
            progress.train_loss.update(step.loss, step.samples)
            yield step
            if progress.step == plan.total_steps:
                return


def step_row(progress: Progress, step: Step) -> dict[str, Any]:
    """What the metrics file says of a step."""
    return {"step": progress.step, "epoch": progress.epoch, "loss": step.loss, "lr": step.lr}


def evaluation_of(progress: Progress, row: dict[str, float]) -> dict[str, Any]:
    """What the metrics file says of an evaluation."""
    return {"step": progress.step, "epoch": progress.epoch, **row}


def evaluates(plan: Plan, progress: Progress) -> bool:
    """Whether the model is evaluated behind the step that was taken last."""
    return progress.step % plan.eval_every == 0 or progress.step == plan.total_steps


def measure(plan: Plan, progress: Progress) -> dict[str, float]:
    """Evaluate the model, and tell the course of the learning rate what it depends on."""
    row = evaluation_row(plan, progress)
    if plan.course.watches in row:
        progress.watched.append(row[plan.course.watches])
        plan.course.measured(progress.watched[-1])
    return row


class Group(NamedTuple):
    """The batches of one optimizer step, and how long it took to get them."""

    batches: list[Batch]
    waited: float


def groups(stream: Iterator[Batch], size: int) -> Iterator[Group]:
    """Batches by ``size``; the last group of an epoch may be smaller."""
    while True:
        begun = time.perf_counter()
        group = list(islice(stream, size))
        if not group:
            return
        yield Group(group, time.perf_counter() - begun)


def make_update(plan: Plan, progress: Progress) -> Update | CompiledUpdate:
    """The function that makes a step of its batches."""
    train = plan.config.train
    clip = {} if train.clip is None else {"clip_norm": train.clip.norm, "clip_value": train.clip.value}
    update = Update(
        plan.model,
        plan.loss,
        plan.teacher,
        plan.optimizer,
        plan.scaler,
        train.precision,
        plan.device,
        divides=train.on_oom == "accumulate",
        pieces=progress.pieces,
        **clip,
    )
    return CompiledUpdate(update, plan.freezing.ends, progress.compiling) if plan.compiled else update


def take_step(plan: Plan, progress: Progress, group: Group, update: Update | CompiledUpdate) -> Step:
    """One optimizer step: the gradient of the mean loss over all samples of the group, clipped and applied."""
    begun = time.perf_counter()
    plan.course.begin(progress.step)
    plan.freezing.begin(progress.step)
    lr = float(plan.optimizer.param_groups[0]["lr"])
    samples = sum(len(targets) for _, targets in group.batches)
    try:
        if plan.own_step is not None:
            reported = take_own_step(plan, progress, group)
            loss = next(iter(reported.values()), 0.0)
            return Step(loss, lr, samples, time.perf_counter() - begun + group.waited, group.waited)
        mean = update(group.batches) if isinstance(update, Update) else update(group.batches, progress.step)
    except MemoryError as error:
        raise OutOfMemoryError(memory_advice(plan, progress, error)) from error
    except LossNotFinite as found:
        raise NonFiniteLossError(
            f"the loss became {found.loss} at step {progress.step + 1} (epoch {progress.epoch + 1}, learning rate {lr:g}); "
            "lower optim.lr, add train.clip, or look for bad values in the data. Earlier checkpoints are intact."
        ) from None
    return Step(mean, lr, samples, time.perf_counter() - begun + group.waited, group.waited)


def memory_advice(plan: Plan, progress: Progress, error: MemoryError) -> str:
    """What ran out of memory, and what can be done."""
    data, train = plan.config.data, plan.config.train
    half = max(1, data.batch_size // 2)
    return (
        f"out of memory at step {progress.step + 1}, with batches of {data.batch_size}: {error or 'no detail'}. "
        f"data.batch_size={half} train.accumulate={2 * train.accumulate} takes the same steps in about half of it, "
        "--on-oom accumulate finds such a division by itself, and train.precision=bf16 needs less; "
        "earlier checkpoints are intact."
    )


def take_own_step(plan: Plan, progress: Progress, group: Group) -> dict[str, float]:
    """One step as ``train.step`` takes it; what it reports, which must be finite."""
    assert plan.own_step is not None
    context = StepContext.of(plan.model, plan.optimizers, plan.loss, plan.device, progress.step, progress.epoch)
    (batch,) = group.batches
    reported = checked_reports(plan.own_step(context, batch), plan.config.train.reports)
    for name, value in reported.items():
        if not math.isfinite(value):
            raise NonFiniteLossError(
                f"{name} became {value} at step {progress.step + 1}; earlier checkpoints are intact"
            )
        progress.reports.setdefault(name, Mean()).update(value, len(batch[1]))
    return reported


def evaluation_row(plan: Plan, progress: Progress) -> dict[str, float]:
    """The training loss since the last evaluation, and loss and metrics on the validation split."""
    means = progress.reports if plan.own_step is not None else {"loss": progress.train_loss}
    row = {f"train/{name}": mean.compute() for name, mean in means.items()}
    progress.train_loss, progress.reports = Mean(), {}
    if plan.splits.val is not None and not plan.config.models:
        config = plan.config
        metrics = {component.called: component.build() for component in config.metrics}
        row["val/loss"] = evaluate(
            plan.evaluated,
            plan.loss,
            plan.splits.val,
            metrics,
            batch_size=config.eval.batch_size or config.data.batch_size,
            most=config.eval.batches,
            workers=config.data.workers,
            device=plan.device,
            precision=config.train.precision,
        )
        row |= {f"val/{name}": value for name, value in numbers(metrics, plan.symbols).items()}
    progress.latest = row
    return row


def stop_early(plan: Plan, progress: Progress, row: dict[str, float]) -> bool:
    """Whether the watched value has not improved for longer than the patience."""
    stop = plan.config.early_stop
    if stop is None or stop.monitor not in row:
        return False
    progress.patience.update(row[stop.monitor])
    return progress.patience.since >= stop.patience


def save(
    plan: Plan, progress: Progress, store: CheckpointStore, log: MetricsLog, observer: Observer, evaluated: bool
) -> None:
    """Make the metrics durable, then the checkpoint that says how many of them belong to it."""
    progress.metrics_bytes = log.sync()
    model, optimizer, state = capture(plan, progress)
    metric = progress.latest.get(plan.monitor) if evaluated else None
    folder = store.save(progress.step, model, optimizer, state, metric=metric, mode=plan.mode)
    observer.saved(progress, folder)
