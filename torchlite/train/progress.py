"""How far a run is: all that a checkpoint holds besides the tensors, and how both are taken and given back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from torchlite import backends
from torchlite._tensor import Tensor
from torchlite.errors import CheckpointError
from torchlite.ops.creation import zeros
from torchlite.ops.exchange import from_numpy
from torchlite.ops.generator import default_generator
from torchlite.train.checkpoint import AVERAGE_PREFIX, Checkpoint
from torchlite.train.metrics import Mean
from torchlite.train.pacing import Clock
from torchlite.train.plan import Plan

Arrays = dict[str, Any]

COUNTS = ("skipped", "overflows", "rollbacks")
"""What is counted of setbacks, by the names in `Setbacks` and in the metrics file."""


@dataclass
class BestSoFar:
    """The best value seen and how many evaluations ago that was."""

    mode: str = "min"
    min_delta: float = 0.0
    value: float | None = None
    since: int = 0

    def update(self, value: float) -> bool:
        """Take in a value; whether it is the best so far. NaN never is."""
        better = not math.isnan(value) and (
            self.value is None
            or (value < self.value - self.min_delta if self.mode == "min" else value > self.value + self.min_delta)
        )
        if better:
            self.value, self.since = value, 0
        else:
            self.since += 1
        return better


@dataclass
class Setbacks:
    """Steps that led nowhere.

    Attributes:
        skipped: steps that were left out because the loss or a gradient was not finite.
        in_a_row: of those, the latest without a good one between them.
        overflows: steps that the scaler of the loss left out while looking for a factor that float16 can hold.
        rollbacks: how often the run went back to a checkpoint.
        updated: optimizer steps that were done when the weights were updated last.
        safe: the step of the last checkpoint that an uninterrupted run has, too: where a run goes back to.
    """

    skipped: int = 0
    in_a_row: int = 0
    overflows: int = 0
    rollbacks: int = 0
    updated: int = 0
    safe: int = 0

    def counts(self) -> dict[str, int]:
        """What there was any of, by name."""
        return {name: count for name in COUNTS if (count := getattr(self, name))}


@dataclass
class Progress:
    """Where a run stands between two optimizer steps.

    Attributes:
        step: optimizer steps done.
        epoch: epochs done.
        batch: batches of the current epoch that are done.
        train_loss: the training loss since the last evaluation.
        reports: the same of the numbers that a step of one's own reports.
        best: of the monitored value.
        patience: of the value that early stopping watches.
        metrics_bytes: length of the metrics file.
        latest: the last evaluation.
        watched: the values that the course of the learning rate depends on.
        compiling: what has been learned in compiling steps.
        pieces: into how many parts batches are cut because a whole one does not fit into memory.
        setbacks: what led nowhere.
        clock: the time that the run has taken.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    train_loss: Mean = field(default_factory=Mean)
    reports: dict[str, Mean] = field(default_factory=dict)
    best: BestSoFar = field(default_factory=BestSoFar)
    patience: BestSoFar = field(default_factory=BestSoFar)
    metrics_bytes: int = 0
    latest: dict[str, float] = field(default_factory=dict)
    watched: list[float] = field(default_factory=list)
    compiling: dict[str, Any] = field(default_factory=dict)
    pieces: int = 1
    setbacks: Setbacks = field(default_factory=Setbacks)
    clock: Clock = field(default_factory=Clock)


def start(plan: Plan) -> Progress:
    """The progress of a run that has not begun."""
    stop = plan.config.early_stop
    from torchlite.train.config.semantics import direction

    patience = BestSoFar()
    if stop is not None:
        patience = BestSoFar(stop.mode or direction(stop.monitor, plan.config.metrics) or "min", stop.min_delta)
    return Progress(best=BestSoFar(plan.mode), patience=patience)


def capture(plan: Plan, progress: Progress) -> tuple[Arrays, Arrays, dict[str, Any]]:
    """Model tensors, optimizer tensors and everything else, ready to be saved."""
    model = {name: backends.to_numpy(x._data) for name, x in plan.model.state_dict().items()}
    optimizer: Arrays = {}
    for name, parameter in plan.model.named_parameters():
        for one in plan.optimizers.values():
            for key, value in one.state.get(parameter, {}).items():
                optimizer |= _arrays(f"{name}:{key}", value)
    if plan.average is not None:
        optimizer |= {AVERAGE_PREFIX + name: array for name, array in plan.average.state().items()}
    state = {
        "step": progress.step,
        "epoch": progress.epoch,
        "batch": progress.batch,
        "train_loss": progress.train_loss.state(),
        "reports": {name: mean.state() for name, mean in progress.reports.items()},
        "best": vars(progress.best),
        "patience": vars(progress.patience),
        "metrics_bytes": progress.metrics_bytes,
        "latest": progress.latest,
        "watched": progress.watched,
        "compiling": progress.compiling,
        "compiled": plan.compiled,
        "pieces": progress.pieces,
        "setbacks": vars(progress.setbacks),
        "scaler": plan.scaler.state_dict(),
        "random": list(default_generator.state()),
        **({"clock": progress.clock.state()} if plan.looks_at_the_clock else {}),
    }
    return model, optimizer, state


def _arrays(name: str, value: Any) -> Arrays:
    """What an optimizer keeps under one name: a tensor or number, or a list of them under ``name.0`` and so on."""
    if isinstance(value, list):
        return {k: v for i, part in enumerate(value) for k, v in _arrays(f"{name}.{i}", part).items()}
    if value is None:
        return {}
    return {name: backends.to_numpy(value._data) if isinstance(value, Tensor) else np.asarray(value)}


def _place(name: str) -> tuple[str, int]:
    """What the names of one list are sorted by."""
    parameter, _, key = name.rpartition(":")
    key, _, index = key.partition(".")
    return f"{parameter}:{key}", int(index or 0)


def restore(plan: Plan, checkpoint: Checkpoint) -> Progress:
    """Put a checkpoint into the plan's model, optimizer and generator; where the run stood then.

    Raises:
        CheckpointError: when it belongs to another model or another version of the format.
    """
    load_model(plan.model, checkpoint.model, str(checkpoint.folder))
    parameters = dict(plan.model.named_parameters())
    try:
        averaged = [name for name in checkpoint.optim if name.startswith(AVERAGE_PREFIX)]
        if plan.average is not None:
            plan.average.restore({name.removeprefix(AVERAGE_PREFIX): checkpoint.optim[name] for name in averaged})
        for name in sorted(checkpoint.optim.keys() - averaged, key=_place):
            parameter, _, key = name.rpartition(":")
            value = from_numpy(checkpoint.optim[name])
            value = value if value.ndim == 0 else value.to(plan.device)
            key, dot, _ = key.partition(".")
            state = plan.optimizer_of(parameters[parameter]).state[parameters[parameter]]
            if dot:
                state.setdefault(key, []).append(value)
            else:
                state[key] = value
        for one, trained in ((o, p) for o in plan.optimizers.values() for g in o.param_groups for p in g["params"]):
            one.state[trained]
        state = checkpoint.state
        progress = Progress(
            step=state["step"],
            epoch=state["epoch"],
            batch=state["batch"],
            best=BestSoFar(**state["best"]),
            patience=BestSoFar(**state["patience"]),
            metrics_bytes=state["metrics_bytes"],
            latest=state["latest"],
            watched=state.get("watched", []),
            compiling=state.get("compiling", {}),
            pieces=state.get("pieces", 1),
            clock=Clock(**state.get("clock", {})),
            setbacks=Setbacks(**state.get("setbacks", {"updated": state["step"], "safe": state["step"]})),
        )
        if plan.config.train.compile == "auto":
            plan.compiled = state.get("compiled", plan.compiled)  # also where the run is longer now
        for measured in progress.watched:
            plan.course.measured(measured)
        progress.train_loss.restore(state["train_loss"])
        for name, saved in state.get("reports", {}).items():
            progress.reports[name] = Mean()
            progress.reports[name].restore(saved)
        if state.get("scaler"):
            plan.scaler.load_state_dict(state["scaler"])
            plan.scaler.scale(zeros(()))  # its factor is a tensor from now on, as after a step
        default_generator.restore(tuple(state["random"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{checkpoint.folder} does not fit this run: {type(error).__name__}: {error}") from None
    return progress


def load_model(model: Any, arrays: Mapping[str, Any], where: str) -> None:
    """Load saved tensors into a model.

    Raises:
        CheckpointError: listing what does not fit.
    """
    try:
        model.load_state_dict({name: from_numpy(array) for name, array in arrays.items()})
    except RuntimeError as error:
        raise CheckpointError(f"the weights in {where} do not fit the model: {error}") from None
