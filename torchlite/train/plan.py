"""Everything a run needs, built from its configuration before the first step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torchlite import amp, backends, nn
from torchlite._tensor import Tensor
from torchlite.devices import CPU, Device
from torchlite.errors import ConfigError
from torchlite.ops.generator import default_generator, manual_seed
from torchlite.optim import Optimizer
from torchlite.train.averaging import WeightAverage
from torchlite.train.check import check_shapes, size_of, traces_of, transformed
from torchlite.train.config.load import data_card
from torchlite.train.config.schema import Config, Init
from torchlite.train.config.semantics import default_monitor, direction
from torchlite.train.data import Splits, load_splits
from torchlite.train.footprint import Footprint
from torchlite.train.freezing import Freezing
from torchlite.train.initial import start_from, trace_teacher
from torchlite.train.model import Trace, build_model, build_models
from torchlite.train.optimizers import make_optimizers
from torchlite.train.own_step import OwnStep
from torchlite.train.pacing import Pace
from torchlite.train.precision import scaler_for
from torchlite.train.schedule import Course, Courses, make_course
from torchlite.train.updating import pays


@dataclass
class Plan:
    """A run about to start.

    Attributes:
        config: the configuration it was made from.
        device: where it computes.
        splits: the data in memory.
        traces: the models followed on shapes, by name; that of the only one is called ``model``.
        size: how large a step is.
        model, loss, optimizers: what is trained, by what, and how; several models are the children of one.
        teacher: whose outputs the loss compares with, if any.
        own_step: takes each training step in place of the loop, if there is one.
        course: of the learning rate.
        freezing: switches gradients on and off.
        average: of the weights, where ``train.ema`` asks for one.
        scaler: of the loss, where ``train.precision`` is fp16; it does nothing elsewhere.
        steps_per_epoch, total_steps: in optimizer steps.
        eval_every, checkpoint_every: how often.
        compiled: whether steps are compiled.
        monitor, mode: the value that decides which checkpoint is best, and which way it improves.
    """

    config: Config
    device: Device
    splits: Splits
    traces: dict[str, Trace]
    size: Footprint
    model: nn.Module
    loss: nn.Module
    optimizers: dict[str, Optimizer]
    teacher: nn.Module | None
    own_step: OwnStep | None
    course: Course
    freezing: Freezing
    average: WeightAverage | None
    scaler: amp.GradScaler
    steps_per_epoch: int
    total_steps: int
    eval_every: Pace
    checkpoint_every: Pace
    compiled: bool
    monitor: str
    mode: Literal["min", "max"]

    @property
    def looks_at_the_clock(self) -> bool:
        """Whether anything depends on how long steps take."""
        return self.config.train.time is not None or None in (self.eval_every.steps, self.checkpoint_every.steps)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The classes by name; of a text its characters."""
        return tuple(data_card(self.config.data).classes)

    @property
    def optimizer(self) -> Optimizer:
        """The only optimizer, or the first."""
        return next(iter(self.optimizers.values()))

    @property
    def base_lr(self) -> float:
        """The learning rate of the configuration, before the schedule."""
        return float(self.optimizer.defaults["lr"])

    @property
    def evaluated(self) -> nn.Module:
        """The model that is evaluated: that with the averages of the weights, where there are any."""
        return self.model if self.average is None else self.average.model

    def begin_again(self) -> None:
        """Make what changes from step to step anew, over the same model, for a checkpoint to be put into."""
        self.optimizers = make_optimizers(self.config.optim, self.model)
        self.course = _course(
            self.config, self.optimizers, self.total_steps, self.steps_per_epoch, self.monitor, self.mode
        )
        self.freezing = Freezing(self.config.freeze, self.model, self.steps_per_epoch)
        self.scaler = scaler_for(self.config.train.precision, self.device)

    def optimizer_of(self, parameter: Tensor) -> Optimizer:
        """The optimizer that steps a parameter."""
        owners = (
            one
            for one in self.optimizers.values()
            if any(p is parameter for g in one.param_groups for p in g["params"])
        )
        return next(owners)


def make_plan(config: Config, *, begins: bool = True) -> Plan:
    """Read the data, build model, loss and optimizer, and count steps; seeds the default generator.

    The weights that ``init`` names are read where the training ``begins``, not where a checkpoint follows.

    Raises:
        ConfigError: where the shapes do not fit.
        DataError, DeviceError: where data or device are not there.
    """
    _, problems = check_shapes(config)
    if problems:
        raise ConfigError("\n".join(f"{config.path}: {problem.message}" for problem in problems))
    device = choose_device(config.train.device)
    splits = load_splits(config)
    traces = traces_of(config)
    manual_seed(config.seed)
    model = build_models(config, traces, device)
    with device:
        loss = config.loss.build()
    if config.init is not None and begins:
        start_from(config.init, model)
    if not any(p.requires_grad for p in model.parameters()):
        raise ConfigError(f"{config.path}: the model has no parameters, so there is nothing to train")
    count = len(splits.train)
    batch_size, accumulate = config.data.batch_size, config.train.accumulate
    batches = count // batch_size if config.data.drop_last else -(-count // batch_size)
    steps_per_epoch = -(-batches // accumulate)
    monitor = config.checkpoint.monitor or default_monitor(config)
    mode = config.checkpoint.mode or direction(monitor, config.metrics) or "min"
    optimizers = make_optimizers(config.optim, model)
    total_steps = config.train.length.steps(steps_per_epoch)
    size = size_of(config, traces)
    own_step = config.train.step.build() if config.train.step is not None else None
    samples = min(batch_size * accumulate, count)
    average = WeightAverage(model, config.train.ema) if config.train.ema is not None else None
    teacher = build_teacher(config, device)
    if teacher is not None and hasattr(loss, "watch"):
        loss.watch(model, teacher)  # behind the copy for the average, which is not to be seen
    return Plan(
        config=config,
        device=device,
        splits=splits,
        traces=traces,
        size=size,
        model=model,
        loss=loss,
        optimizers=optimizers,
        teacher=teacher,
        own_step=own_step,
        course=_course(config, optimizers, total_steps, steps_per_epoch, monitor, mode),
        freezing=Freezing(config.freeze, model, steps_per_epoch),
        average=average,
        scaler=scaler_for(config.train.precision, device),
        steps_per_epoch=steps_per_epoch,
        total_steps=total_steps,
        eval_every=Pace.of(config.eval.every, steps_per_epoch),
        checkpoint_every=Pace.of(config.checkpoint.every, steps_per_epoch),
        compiled=own_step is None
        and pays(config.train.compile, device, next(iter(optimizers.values())), size, samples, total_steps),
        monitor=monitor,
        mode=mode,
    )


def _course(
    config: Config,
    optimizers: dict[str, Optimizer],
    total: int,
    steps_per_epoch: int,
    monitor: str,
    mode: Literal["min", "max"],
) -> Course:
    """The course of the learning rates of all optimizers."""
    try:
        courses = [
            make_course(config.schedule, optimizer, total, steps_per_epoch, monitor, mode)
            for optimizer in optimizers.values()
        ]
    except ValueError as error:
        raise ConfigError(f"{config.path}: schedule: {error}") from None
    return courses[0] if len(courses) == 1 else Courses(courses)


def choose_device(name: str) -> Device:
    """The device that ``train.device`` names; ``auto`` is a GPU where there is one."""
    if name == "auto":
        return backends.resolve(Device("cuda")) if backends.cuda_device_count() else CPU
    return backends.resolve(Device(name))


def build_teacher(config: Config, device: Device) -> nn.Module | None:
    """The teacher with its weights, in evaluation mode and without gradients.

    Raises:
        UsageError, CheckpointError: when its weights are not there or do not fit.
    """
    shape, dtype = transformed(config, "train")
    trace = trace_teacher(config, shape, dtype, config.data.batch_size)
    if config.teacher is None or trace is None:
        return None
    state = default_generator.state()
    teacher = build_model(trace, device)
    default_generator.restore(state)  # the initial values that are about to be replaced cost no random numbers
    start_from(Init(weights=config.teacher.weights), teacher)
    return teacher.requires_grad_(False).eval()
