"""Starting and resuming runs: configuration in, trained model and run folder out."""

from __future__ import annotations

import dataclasses
import json
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from torchlite.errors import CheckpointError, DataError, TorchliteError
from torchlite.train import run_directory
from torchlite.train.callbacks import Observers
from torchlite.train.checkpoint import Checkpoint, CheckpointStore
from torchlite.train.config.parts import Duration
from torchlite.train.config.schema import Config
from torchlite.train.config.usercode import attributed
from torchlite.train.drift import Drift, drift
from torchlite.train.loop import COMPLETE, Ending, Observer, fit
from torchlite.train.metrics_log import MetricsLog
from torchlite.train.plan import Plan, make_plan
from torchlite.train.progress import Progress, restore, start
from torchlite.train.run_directory import RunDirectory, checkpoint_of
from torchlite.train.run_log import RunLog

INTERRUPTED, PREEMPTED = 130, 75
_IMPATIENCE_S = 5.0


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        run: its folder.
        ending: why there is no further step.
        exit_code: 0, or what stopped it: 130 for Ctrl-C, 75 for SIGTERM (resume to go on).
        progress: where it stands.
        monitor: the value by which the best checkpoint was chosen.
        warnings: what had to be worked around.
    """

    run: RunDirectory
    ending: Ending
    exit_code: int
    progress: Progress
    monitor: str
    warnings: tuple[str, ...] = ()

    @property
    def completed(self) -> bool:
        """Whether there is nothing left to train."""
        return self.ending in COMPLETE


@dataclass
class Interrupt:
    """Which signal has asked the run to stop, if any."""

    signal: int | None = None

    def __call__(self) -> bool:
        """Whether one has."""
        return self.signal is not None


@contextmanager
def stop_signals() -> Iterator[Interrupt]:
    """Within the block Ctrl-C and SIGTERM only ask to stop; a second one within seconds ends the process at once."""
    interrupt = Interrupt()
    asked_at = 0.0

    def ask(number: int, _frame: FrameType | None) -> None:
        nonlocal asked_at
        now = time.monotonic()
        if interrupt.signal is not None and now - asked_at < _IMPATIENCE_S:
            raise KeyboardInterrupt
        interrupt.signal, asked_at = number, now

    previous = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, ask)
    except ValueError:  # not in the main thread: whoever owns the signals decides
        pass
    try:
        yield interrupt
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def train(
    config: Config,
    observer: Observer,
    *,
    root: Path = Path("runs"),
    overrides: Sequence[str] = (),
    folder: Path | None = None,
    pause: Duration | None = None,
) -> Outcome:
    """Train from the beginning, in a new folder below ``root``, or in ``folder``; only as far as ``pause``, if given.

    Raises:
        TorchliteError: what went wrong, by its kind; the folder then says so too.
    """
    if config.export:
        from torchlite.train.exporting import check_formats

        check_formats(config.export)
    plan = make_plan(config)
    run = run_directory.create(config, root, overrides, _describe_data(plan), folder)
    with run.locked():
        return _reported(_exported(_fit(plan, start(plan), run, observer, pause), config), config)


def _exported(outcome: Outcome, config: Config) -> Outcome:
    """The outcome, after what a finished run has trained was written in the formats that `export` lists."""
    if outcome.completed and config.export:
        from torchlite.train.exporting import export_all
        from torchlite.train.trained import load_trained

        trained = load_trained(outcome.run.path, "best", "cpu", allow_code=True)
        export_all(trained, config.export, outcome.run.path / "exports")
    return outcome


@dataclass(frozen=True)
class Resumption:
    """A run about to go on.

    Attributes:
        run: its folder.
        config: its configuration, changed.
        changed: what differs from that of the run so far.
        checkpoint: where it goes on; None from the beginning.
    """

    run: RunDirectory
    config: Config
    changed: tuple[Drift, ...]
    checkpoint: Checkpoint | None


def _reported(outcome: Outcome, config: Config) -> Outcome:
    """The outcome, after the page of a finished run was written where `report` asks for it."""
    if not outcome.completed or not config.report:
        return outcome
    from torchlite.train.report import write_report

    try:
        write_report(outcome.run, allow_code=True)
    except Exception as error:  # the run is as good without the page
        failed = f"report.html could not be written: {type(error).__name__}: {error}"
        return dataclasses.replace(outcome, warnings=(*outcome.warnings, failed))
    return outcome


def resume(
    run: RunDirectory,
    observer: Observer,
    *,
    overrides: Sequence[str] = (),
    allow_code: bool = False,
    begin: str = "last",
    fork: bool = False,
    told: Callable[[Resumption], None] = lambda _: None,
    pause: Duration | None = None,
) -> Outcome:
    """Go on where the newest intact checkpoint of a run was taken, bit for bit as if nothing had happened.

    Args:
        run: its folder.
        observer: is told what happens.
        overrides: changes to the configuration, such as ``train.epochs=20``.
        allow_code: whether user code in the folder may run.
        begin: the checkpoint to go on from: last, best or a step; any but the last goes on in a new folder.
        fork: whether to go on in a new folder and leave this one as it is.
        told: is told what is about to happen.
        pause: how far to train, in all; to the end where unset.

    Raises:
        TorchliteError: what went wrong, by its kind; CheckpointError where a change does not fit the checkpoint.
    """
    before = run.read_config(allow_code=allow_code)
    config = run.read_config(overrides, allow_code=allow_code) if overrides else before
    changed = tuple(drift(before, config))
    forbidden = [str(one) for one in changed if one.effect == "forbidden"]
    if forbidden:
        raise CheckpointError("a run can't go on with " + "; ".join(forbidden) + "; train anew instead")
    with run.locked():
        store = _store(run, config)
        store.clean()
        checkpoint = store.latest_good() if begin == "last" else checkpoint_of(run, begin)
        if fork or begin != "last":
            run = run_directory.fork(run, config, overrides, checkpoint)
    with run.locked():
        told(Resumption(run, config, changed, checkpoint))
        plan = make_plan(config, begins=checkpoint is None)
        _check_fingerprint(plan, run)
        if checkpoint is None:
            progress = start(plan)
            warnings: tuple[str, ...] = ("there is no checkpoint yet: starting from the beginning",)
        else:
            progress, warnings = restore(plan, checkpoint), checkpoint.warnings
            _place_in_epoch(progress, before, plan)
        if changed:
            run.note_change(progress.step, overrides)
            run.write_config(config)
        outcome = _reported(_exported(_fit(plan, progress, run, observer, pause), config), config)
        return dataclasses.replace(outcome, warnings=(*warnings, *outcome.warnings))


def _check_fingerprint(plan: Plan, run: RunDirectory) -> None:
    try:
        recorded = json.loads((run.path / "data.json").read_bytes()).get("fingerprint")
    except (OSError, ValueError):
        return
    if recorded is not None and recorded != plan.splits.fingerprint:
        raise DataError(
            f"the data is not what {run.path} began with (SHA-256 {plan.splits.fingerprint[:12]}, was {recorded[:12]}): "
            "restore it, or train anew"
        )


def _place_in_epoch(progress: Progress, before: Config, plan: Plan) -> None:
    """Where the run stands in its epoch, counted in batches of another size."""
    after = plan.config.data
    if (before.data.batch_size, before.data.drop_last) != (after.batch_size, after.drop_last):
        progress.batch = progress.batch * before.data.batch_size // after.batch_size
        samples = len(plan.splits.train)
        if progress.batch >= (samples // after.batch_size if after.drop_last else -(-samples // after.batch_size)):
            progress.epoch, progress.batch = progress.epoch + 1, 0


def _fit(
    plan: Plan, progress: Progress, run: RunDirectory, observer: Observer, pause: Duration | None = None
) -> Outcome:
    pause_at = None if pause is None else pause.steps(plan.steps_per_epoch)
    if pause_at is not None and progress.step >= pause_at:
        return Outcome(run, "paused", 0, progress, plan.monitor)
    store = _store(run, plan.config)
    log = MetricsLog(run.metrics)
    run.write_status("running", progress.step)
    observers = Observers([])
    try:
        if log.path.stat().st_size < progress.metrics_bytes:
            raise CheckpointError(
                f"{log.path} is shorter than its checkpoint says ({progress.metrics_bytes} bytes): it was changed by hand"
            )
        log.cut(progress.metrics_bytes)
        observers = with_callbacks(observer, plan, run)
        with stop_signals() as interrupt:
            ending = fit(plan, progress, store, log, observers, interrupt, pause_at)
    except BaseException as raised:
        error = attributed(raised)
        observers.failed(progress, error)
        code = (
            error.exit_code if isinstance(error, TorchliteError) else 130 if isinstance(error, KeyboardInterrupt) else 1
        )
        run.write_status("failed", progress.step, exit_code=code, reason=f"{type(error).__name__}: {error}")
        if error is not raised:
            raise error from raised
        raise
    finally:
        log.close()
    code = 0
    if ending == "interrupted":
        code = PREEMPTED if interrupt.signal == signal.SIGTERM else INTERRUPTED
    state = ending if ending in ("paused", "interrupted") else "finished"
    run.write_status(state, progress.step, exit_code=code, reason=ending, **progress.setbacks.counts())
    warnings = tuple(problem for problem in (log.warning, run.problem, *observers.problems) if problem)
    return Outcome(run, ending, code, progress, plan.monitor, warnings)


def with_callbacks(observer: Observer, plan: Plan, run: RunDirectory) -> Observers:
    """The observer, and the callbacks and loggers of the configuration, as one."""
    callbacks = [component.build() for component in (*plan.config.callbacks, *plan.config.log)]
    for callback in callbacks:
        callback.folder = run.path
    return Observers([observer, RunLog(run), *callbacks])


def _store(run: RunDirectory, config: Config) -> CheckpointStore:
    keep = config.checkpoint.keep
    return run.store(keep.last, keep.best)


def _describe_data(plan: Plan) -> dict[str, object]:
    splits = plan.splits
    split = plan.config.data.split
    return {
        "dataset": plan.config.data.type,
        "fingerprint": splits.fingerprint,
        "train": len(splits.train),
        "val": len(splits.val) if splits.val is not None else 0,
        "split_seed": plan.config.seed if split.seed is None else split.seed,
        "classes": list(plan.symbols),
    }
