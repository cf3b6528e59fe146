"""Everything a run needs, built from its configuration before the first step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torchlite import amp, backends, dtypes, nn
from torchlite.devices import CPU, META, Device
from torchlite.errors import ConfigError
from torchlite.ops.creation import empty
from torchlite.ops.generator import manual_seed
from torchlite.optim import Optimizer
from torchlite.train.check import check_shapes, transformed
from torchlite.train.config.schema import Config
from torchlite.train.config.semantics import direction
from torchlite.train.data import Splits, load_splits
from torchlite.train.footprint import Footprint, copies_kept, footprint
from torchlite.train.model import Trace, build_model, trace_model
from torchlite.train.precision import scaler_for
from torchlite.train.schedule import Course, make_course


@dataclass
class Plan:
    """A run about to start.

    Attributes:
        config: the configuration it was made from.
        device: where it computes.
        splits: the data in memory.
        trace: the model followed on shapes.
        size: how large a step is.
        model, loss, optimizer: what is trained, by what, and how.
        course: of the learning rate.
    scaler: of the loss, where ``train.precision`` is fp16; it does nothing elsewhere.
        steps_per_epoch, total_steps: in optimizer steps.
        eval_every, checkpoint_every: in optimizer steps.
        monitor, mode: the value that decides which checkpoint is best, and which way it improves.
    """

    config: Config
    device: Device
    splits: Splits
    trace: Trace
    size: Footprint
    model: nn.Module
    loss: nn.Module
    optimizer: Optimizer
    course: Course
    scaler: amp.GradScaler
    steps_per_epoch: int
    total_steps: int
    eval_every: int
    checkpoint_every: int
    monitor: str
    mode: Literal["min", "max"]

    @property
    def base_lr(self) -> float:
        """The learning rate of the configuration, before the schedule."""
        return float(self.optimizer.defaults["lr"])


def make_plan(config: Config) -> Plan:
    """Read the data, build model, loss and optimizer, and count steps; seeds the default generator.

    Raises:
        ConfigError: where the shapes do not fit.
        DataError, DeviceError: where data or device are not there.
    """
    _, problems = check_shapes(config)
    if problems:
        raise ConfigError("\n".join(f"{config.path}: {problem.message}" for problem in problems))
    device = choose_device(config.train.device)
    splits = load_splits(config)
    trace = trace_of(config)
    manual_seed(config.seed)
    model = build_model(config, trace, device)
    with device:
        loss = config.loss.build()
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise ConfigError(f"{config.path}: the model has no parameters, so there is nothing to train")
    count = len(splits.train)
    batch_size, accumulate = config.data.batch_size, config.train.accumulate
    batches = count // batch_size if config.data.drop_last else -(-count // batch_size)
    steps_per_epoch = -(-batches // accumulate)
    monitor = config.checkpoint.monitor or ("val/loss" if splits.val is not None else "train/loss")
    mode = config.checkpoint.mode or direction(monitor) or "min"
    optimizer = config.optim.build(parameters)
    total_steps = config.train.length.steps(steps_per_epoch)
    try:
        course = make_course(config.schedule, optimizer, total_steps, steps_per_epoch, monitor, mode)
    except ValueError as error:
        raise ConfigError(f"{config.path}: schedule: {error}") from None
    return Plan(
        config=config,
        device=device,
        splits=splits,
        trace=trace,
        size=size_of(config, trace),
        model=model,
        loss=loss,
        optimizer=optimizer,
        course=course,
        scaler=scaler_for(config.train.precision, device),
        steps_per_epoch=steps_per_epoch,
        total_steps=total_steps,
        eval_every=config.eval.every.steps(steps_per_epoch),
        checkpoint_every=config.checkpoint.every.steps(steps_per_epoch),
        monitor=monitor,
        mode=mode,
    )


def choose_device(name: str) -> Device:
    """The device that ``train.device`` names; ``auto`` is a GPU where there is one."""
    if name == "auto":
        return backends.resolve(Device("cuda")) if backends.cuda_device_count() else CPU
    return backends.resolve(Device(name))


def trace_of(config: Config) -> Trace:
    """The model of ``config`` followed on the shapes of a training batch."""
    shape, dtype = transformed(config, "train")
    return trace_model(config, shape, dtype, config.data.batch_size)


def size_of(config: Config, trace: Trace) -> Footprint:
    """The footprint of a training step of ``config``."""
    batch = config.data.batch_size
    with META:
        loss = config.loss.build()(trace.output, empty(batch, dtype=dtypes.int64))
    return footprint(trace.modules(), loss, batch, copies_kept(config.optim))
