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
from torchlite.train.nonfinite import CAUSE_OF_BAD_WEIGHTS, first_bad, not_finite_names
from torchlite.train.own_step import StepContext, checked_reports
from torchlite.train.plan import Plan
from torchlite.train.progress import Progress, capture, restore
from torchlite.train.updating import Batch, CompiledUpdate, Moment, NotFinite, Update

Ending = Literal["finished", "stopped early", "time is up", "paused", "interrupted"]
COMPLETE = ("finished", "stopped early", "time is up")
"""The endings behind which there is nothing left to train."""

ADVICE = "Lower optim.lr, add train.clip, look for bad values in the data, or see train.on_nonfinite. Earlier checkpoints are intact."
_EXPLAINED = 3
"""So many steps that are left out are taken once more to see what is wrong; of later ones it is only said that they were."""


class Step(NamedTuple):
    """What one optimizer step was like; ``skipped`` says why nothing was updated, where it was left out."""

    loss: float
    lr: float
    samples: int
    seconds: float
    waited: float
    skipped: str = ""


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

    def warned(self, progress: Progress, message: str) -> None:
        """Something went wrong, and the run goes on."""

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
        NonFiniteLossError: when the loss or a gradient becomes NaN or infinite and ``train.on_nonfinite`` does not let the
            run go on, or not any more; the earlier checkpoints stay.
    """
    goes_back = plan.config.train.on_nonfinite == "rollback"
    observer.started(plan, progress)
    if goes_back and not progress.step:
        save(plan, progress, store, log, observer, evaluated=False)
    ending: Ending | None = "time is up" if time_is_up(plan, progress) else None
    while ending is None:
        try:
            ending = train_on(plan, progress, store, log, observer, interrupted, pause_at)
        except NonFiniteLossError as found:
            if not goes_back:
                raise
            roll_back(plan, progress, store, log, found)
            observer.warned(progress, f"{found.found}; back to step {progress.step}, and on with the batches behind")
    observer.ended(progress, ending)
    return ending


def train_on(
    plan: Plan,
    progress: Progress,
    store: CheckpointStore,
    log: MetricsLog,
    observer: Observer,
    interrupted: Callable[[], bool],
    pause_at: int | None,
) -> Ending:
    """`fit`, from where the run stands and as long as every number is finite."""
    plan.model.train()
    update = make_update(plan, progress)
    saved_at = progress.step if progress.step else None
    ending: Ending = "finished"
    for step in steps(plan, progress, update):
        log.append(step_row(progress, step))
        observer.stepped(progress, step)
        if progress.setbacks.in_a_row:
            observer.warned(progress, step.skipped)
        spent = progress.clock.look()
        if time_is_up(plan, progress):
            ending = "time is up"
        last = progress.step == plan.total_steps or ending == "time is up"
        improved = False
        evaluated = last or plan.eval_every.due(progress.step, spent, progress.clock.evaluated)
        if evaluated:
            progress.clock.evaluated = spent
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
        progress.pieces = uncompiled(update).pieces
        planned = plan.checkpoint_every.due(progress.step, spent, progress.clock.saved) or improved or last
        if planned or ending != "finished":
            if planned:
                progress.setbacks.safe, progress.clock.saved = progress.step, spent
            save(plan, progress, store, log, observer, evaluated)
            saved_at = progress.step
        if ending != "finished":
            break
    if saved_at != progress.step:
        save(plan, progress, store, log, observer, evaluated=False)
    return ending


def roll_back(
    plan: Plan, progress: Progress, store: CheckpointStore, log: MetricsLog, found: NonFiniteLossError
) -> None:
    """Make everything what it was at the last planned checkpoint, but for the place in the data: that stays behind what was bad.

    A run that is resumed from that checkpoint comes to the same bad step, and from there back to the same place. Later
    checkpoints, which were made because the run was interrupted, are of what is given up.

    Raises:
        NonFiniteLossError: what was found, where the run has gone back too often.
        CheckpointError: when the checkpoint is damaged.
    """
    times, limit = progress.setbacks.rollbacks + 1, plan.config.train.nonfinite_limit
    if times > limit:
        again = f"{found.found}. The run has gone back {limit} times, which train.nonfinite_limit allows"
        raise NonFiniteLossError(again, found.loss, ADVICE)
    place = progress.epoch, progress.batch
    checkpoint = store.load(progress.setbacks.safe)
    store.forget_after(checkpoint.step)
    plan.begin_again()
    vars(progress).update(vars(restore(plan, checkpoint)))
    progress.epoch, progress.batch = place
    progress.setbacks.rollbacks = times
    log.cut(progress.metrics_bytes)


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
            try:
                step = take_step(plan, progress, group, update)
            except NonFiniteLossError as found:
                pass_by(progress, group, len(indices))
                step = leave_out(plan, progress, group, found)
            else:
                pass_by(progress, group, len(indices))
            progress.step += 1
            if not step.skipped:
                progress.setbacks.updated, progress.setbacks.in_a_row = progress.step, 0
                if plan.average is not None:
                    plan.average.update(plan.model)
            if math.isfinite(step.loss):
                progress.train_loss.update(step.loss, step.samples)
            yield step
            if progress.step == plan.total_steps:
                return


def pass_by(progress: Progress, group: Group, batches: int) -> None:
    """Move on in the data, which has so many batches an epoch."""
    progress.batch += len(group.batches)
    if progress.batch == batches:
        progress.epoch, progress.batch = progress.epoch + 1, 0


def leave_out(plan: Plan, progress: Progress, group: Group, found: NonFiniteLossError) -> Step:
    """A step that updates nothing, because its loss or a gradient is not finite.

    Raises:
        NonFiniteLossError: what was found, where steps are not left out or too many have been in a row.
    """
    train, setbacks = plan.config.train, progress.setbacks
    if train.on_nonfinite != "skip":
        raise found
    setbacks.skipped += 1
    setbacks.in_a_row += 1
    if setbacks.in_a_row > train.nonfinite_limit:
        raise NonFiniteLossError(
            f"{found.found}. So did the {train.nonfinite_limit} steps before it, which train.nonfinite_limit allows",
            found.loss,
            ADVICE,
        )
    samples = sum(len(targets) for _, targets in group.batches)
    lr = float(plan.optimizer.param_groups[0]["lr"])
    return Step(found.loss, lr, samples, group.waited, group.waited, f"{found.found}; the step was left out")


def step_row(progress: Progress, step: Step) -> dict[str, Any]:
    """What the metrics file says of a step."""
    counts = progress.setbacks.counts()
    return {"step": progress.step, "epoch": progress.epoch, "loss": step.loss, "lr": step.lr, **counts}


def evaluation_of(progress: Progress, row: dict[str, float]) -> dict[str, Any]:
    """What the metrics file says of an evaluation."""
    return {"step": progress.step, "epoch": progress.epoch, **row}


def time_is_up(plan: Plan, progress: Progress) -> bool:
    """Whether the training has taken as long as it may, when the clock was looked at last."""
    most = plan.config.train.time
    return most is not None and progress.clock.spent >= most.seconds


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
        checks=train.on_nonfinite != "raise",
        **clip,
    )
    if not plan.compiled:
        return update
    return CompiledUpdate(update, plan.freezing.ends, progress.compiling, cuda_graphs=train.compile != "no-cudagraphs")


def uncompiled(update: Update | CompiledUpdate) -> Update:
    """The step itself."""
    return update if isinstance(update, Update) else update.uncompiled


def take_step(plan: Plan, progress: Progress, group: Group, update: Update | CompiledUpdate) -> Step:
    """One optimizer step: the gradient of the mean loss over all samples of the group, clipped and applied."""
    begun = time.perf_counter()
    plan.course.begin(progress.step)
    plan.freezing.begin(progress.step)
    lr = float(plan.optimizer.param_groups[0]["lr"])
    samples = sum(len(targets) for _, targets in group.batches)
    before = Moment.of(plan.model, buffers=plan.config.train.on_nonfinite == "skip")
    factor, skipped = plan.scaler.get_scale(), ""
    try:
        if plan.own_step is not None:
            reported = take_own_step(plan, progress, group)
            mean = next(iter(reported.values()), 0.0)
        elif isinstance(update, Update):
            mean = update(group.batches)
        else:
            mean = update(group.batches, progress.step, progress.setbacks.updated)
        if plan.scaler.get_scale() < factor:  # which is how the scaler says that it left the step out
            skipped = (
                f"a gradient times {factor:g} is beyond float16: the step was left out, and the factor is smaller now"
            )
            if factor <= 1:
                raise NotFinite(mean)
            progress.setbacks.overflows += 1
    except MemoryError as error:
        raise OutOfMemoryError(memory_advice(plan, progress, error)) from error
    except NotFinite as found:
        told = (
            progress.setbacks.skipped >= _EXPLAINED and progress.setbacks.in_a_row < plan.config.train.nonfinite_limit
        )
        cause = "" if told else first_bad(uncompiled(update), group.batches, before)
        before.put_back()
        raise NonFiniteLossError(what_became_bad(progress, found.loss, lr, cause), found.loss, ADVICE) from None
    return Step(mean, lr, samples, time.perf_counter() - begun + group.waited, group.waited, skipped)


def what_became_bad(progress: Progress, loss: float, lr: float, cause: str) -> str:
    """What is not finite, and where it begins."""
    what = "a gradient became NaN or infinite" if math.isfinite(loss) else f"the loss became {loss}"
    where = f"{what} at step {progress.step + 1} (epoch {progress.epoch + 1}, learning rate {lr:g})"
    return f"{where}: {cause}" if cause else where


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
                f"{name} became {value} at step {progress.step + 1}; earlier checkpoints are intact", value
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
    """Make the metrics durable, then the checkpoint that says how many of them belong to it.

    Raises:
        NonFiniteLossError: where a weight is not finite; there is no checkpoint of that then.
    """
    bad = not_finite_names(plan.model)
    if bad:
        raise NonFiniteLossError(
            f"the weights {bad} are not finite after step {progress.step}, so no checkpoint was made: {CAUSE_OF_BAD_WEIGHTS}. "
            "Earlier checkpoints are intact."
        )
    progress.metrics_bytes = log.sync()
    model, optimizer, state = capture(plan, progress)
    metric = progress.latest.get(plan.monitor) if evaluated else None
    spared = progress.setbacks.safe
    folder = store.save(progress.step, model, optimizer, state, metric=metric, mode=plan.mode, spared=spared)
    observer.saved(progress, folder)
