"""Proof that a run can be repeated: recorded steps are taken once more from a checkpoint and compared bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from torchlite.errors import CheckpointError, NonFiniteLossError
from torchlite.train.checkpoint import Checkpoint
from torchlite.train.config.schema import Config
from torchlite.train.loop import evaluation_of, make_update, measure, step_row, steps
from torchlite.train.metrics_log import plain_row, read_metrics
from torchlite.train.plan import make_plan
from torchlite.train.progress import capture, restore, start
from torchlite.train.run_directory import RunDirectory


@dataclass(frozen=True)
class Verification:
    """What a comparison found.

    Attributes:
        begun: the step whose checkpoint it began from; 0 for the beginning.
        rows: how many lines of the metrics file were compared.
        steps: how many steps they hold.
        state: the step whose checkpoint, weights and state of the optimizer, was compared as well; None where there was none.
    """

    begun: int
    rows: int
    steps: int
    state: int | None

    def __str__(self) -> str:
        last = self.begun + self.steps
        origin = f"step {self.begun}" if self.begun else "the beginning"
        state = f"; all tensors of step {self.state} equal" if self.state is not None else ""
        return f"replayed steps {self.begun + 1}-{last} from {origin}: {self.rows} rows bit-identical{state}"


def verify(run: RunDirectory, config: Config, count: int) -> Verification:
    """Take the last ``count`` recorded steps again, from the newest checkpoint that lies before them, and compare.

    Where no checkpoint lies so far back the oldest one serves, and with none before the last step the beginning.

    Raises:
        CheckpointError: at the first number that differs; or when there is nothing to compare.
    """
    recorded = read_metrics(run.metrics)
    last = max((row["step"] for row in recorded), default=0)
    if not last:
        raise CheckpointError(f"{run.metrics} holds no step yet: there is nothing to verify")
    store = run.store()
    before = [step for step in store.steps() if step < last]
    begun = max((step for step in before if step <= last - count), default=min(before, default=0))
    checkpoint = store.load(begun) if begun else None
    wanted = [row for row in recorded if begun < row["step"] <= min(begun + count, last)]
    plan = make_plan(config, begins=checkpoint is None)
    progress = restore(plan, checkpoint) if checkpoint is not None else start(plan)
    taken = 0
    evaluated = {row["step"] for row in wanted if "lr" not in row}
    replayed = islice(_rows(plan, progress, evaluated), len(wanted))
    for expected in wanted:
        try:
            got = next(replayed)
        except NonFiniteLossError:
            raise _went_back(progress.step + 1) from None
        if expected.get("rollbacks") != got.get("rollbacks"):
            raise _went_back(progress.step)
        if expected != got:
            raise CheckpointError(f"step {progress.step} is not repeated: {_difference(expected, got)}")
        taken = progress.step - begun
    compared = progress.step if progress.step in store.steps() else None
    if compared is not None:
        _compare_state(store.load(compared), plan, progress)
    return Verification(begun, len(wanted), taken, compared)


def _went_back(step: int) -> CheckpointError:
    return CheckpointError(
        f"the run went back before step {step}, which --verify does not follow: verify fewer steps, or all of them by "
        "torchlite runs repro"
    )


def _rows(plan: Any, progress: Any, evaluated: set[int]) -> Iterator[dict[str, Any]]:
    """What the metrics file would hold from here on, with evaluations behind these steps."""
    plan.model.train()
    for step in steps(plan, progress, make_update(plan, progress)):
        yield plain_row(step_row(progress, step))
        if progress.step in evaluated:
            yield plain_row(evaluation_of(progress, measure(plan, progress)))


def _difference(expected: dict[str, Any], got: dict[str, Any]) -> str:
    keys = [key for key in {**expected, **got} if expected.get(key) != got.get(key)]
    return ", ".join(f"{key} was {expected.get(key)!r}, now is {got.get(key)!r}" for key in keys)


def _compare_state(checkpoint: Checkpoint, plan: Any, progress: Any) -> None:
    model, optimizer, _ = capture(plan, progress)
    for saved, made in ((checkpoint.model, model), (checkpoint.optim, optimizer)):
        for name in {**saved, **made}:
            if name not in saved or name not in made or saved[name].tobytes() != np.asarray(made[name]).tobytes():
                raise CheckpointError(f"step {progress.step} is not repeated: tensor '{name}' differs")
