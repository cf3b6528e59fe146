"""The courses that the learning rate may take: three of this project, and those of `torchlite.optim.lr_scheduler`."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from torchlite.train.config.parts import Duration, Mode, Section


class Schedule(Section):
    """How the learning rate goes over the training; after a linear warm-up from zero, if any."""

    type: str
    warmup: Duration | None = Field(
        default=None, description="Linear warm-up before the schedule begins, e.g. 2 epochs."
    )


class ConstantSchedule(Schedule):
    """The learning rate stays."""

    type: Literal["constant"] = Field(default="constant", description="Name of the schedule.")


class StepSchedule(Schedule):
    """The learning rate is multiplied by `gamma` after every stretch of `every`."""

    type: Literal["step"] = Field(default="step", description="Name of the schedule.")
    every: Duration = Field(description="Stretch between two decays, e.g. 10 epochs.")
    gamma: float = Field(default=0.1, gt=0, le=1, description="Factor of each decay.")


class CosineSchedule(Schedule):
    """The learning rate falls along half a cosine to `min_lr` at the end of training."""

    type: Literal["cosine"] = Field(default="cosine", description="Name of the schedule.")
    min_lr: float = Field(default=0.0, ge=0, description="Learning rate at the end.")


class SchedulerSchedule(Schedule):
    """A scheduler of `torchlite.optim.lr_scheduler`, by its class's name and with its arguments."""

    every: Duration = Field(default=Duration(1, "steps"), description="Stretch between two steps of the scheduler.")

    whole: ClassVar[str | None] = None
    """The argument that is the number of scheduler's steps in the whole training where it is not given."""

    def arguments(self) -> dict[str, Any]:
        """What the class is constructed with."""
        own = {"type", "warmup", "every"}
        values = {name: getattr(self, name) for name in type(self).model_fields if name not in own}
        return {name: value for name, value in values.items() if value is not None}


class StepLR(SchedulerSchedule):
    """Times `gamma` every `step_size` steps."""

    type: Literal["StepLR"] = Field(default="StepLR", description="Name of the schedule.")
    step_size: int = Field(ge=1, description="Steps between two decays.")
    gamma: float = Field(default=0.1, gt=0, description="Factor of each decay.")


class MultiStepLR(SchedulerSchedule):
    """Times `gamma` at each of the milestones."""

    type: Literal["MultiStepLR"] = Field(default="MultiStepLR", description="Name of the schedule.")
    milestones: list[int] = Field(description="Steps at which it decays.")
    gamma: float = Field(default=0.1, gt=0, description="Factor of each decay.")


class ConstantLR(SchedulerSchedule):
    """Times `factor` until step `total_iters`."""

    type: Literal["ConstantLR"] = Field(default="ConstantLR", description="Name of the schedule.")
    factor: float = Field(default=1 / 3, gt=0, le=1, description="Factor of the first steps.")
    total_iters: int = Field(default=5, ge=1, description="Number of those steps.")


class LinearLR(SchedulerSchedule):
    """Times a factor that goes linearly from one value to another."""

    type: Literal["LinearLR"] = Field(default="LinearLR", description="Name of the schedule.")
    start_factor: float = Field(default=1 / 3, gt=0, le=1, description="Factor of the first step.")
    end_factor: float = Field(default=1.0, ge=0, le=1, description="Factor at the end.")
    total_iters: int = Field(default=5, ge=1, description="Steps until the end.")


class ExponentialLR(SchedulerSchedule):
    """Times `gamma` at every step."""

    type: Literal["ExponentialLR"] = Field(default="ExponentialLR", description="Name of the schedule.")
    gamma: float = Field(gt=0, description="Factor of each step.")


class PolynomialLR(SchedulerSchedule):
    """Down to zero along a power."""

    type: Literal["PolynomialLR"] = Field(default="PolynomialLR", description="Name of the schedule.")
    total_iters: int = Field(default=5, ge=1, description="Steps until zero.")
    power: float = Field(default=1.0, description="The power.")


class CosineAnnealingLR(SchedulerSchedule):
    """Along half a cosine down to `eta_min`, and up again behind `T_max` steps."""

    whole = "T_max"

    type: Literal["CosineAnnealingLR"] = Field(default="CosineAnnealingLR", description="Name of the schedule.")
    T_max: int | None = Field(default=None, ge=1, description="Steps to the bottom; the whole training where unset.")
    eta_min: float = Field(default=0.0, ge=0, description="Learning rate at the bottom.")


class CosineAnnealingWarmRestarts(SchedulerSchedule):
    """Along half a cosine down to `eta_min`, again and again."""

    type: Literal["CosineAnnealingWarmRestarts"] = Field(
        default="CosineAnnealingWarmRestarts", description="Name of the schedule."
    )
    T_0: int = Field(ge=1, description="Steps until the first restart.")
    T_mult: int = Field(default=1, ge=1, description="How many times longer each way is than the one before.")
    eta_min: float = Field(default=0.0, ge=0, description="Learning rate at the bottom.")


class CyclicLR(SchedulerSchedule):
    """Up and down between two limits, with the momentum the other way."""

    type: Literal["CyclicLR"] = Field(default="CyclicLR", description="Name of the schedule.")
    base_lr: float = Field(gt=0, description="Lower limit.")
    max_lr: float = Field(gt=0, description="Upper limit.")
    step_size_up: int = Field(default=2000, ge=1, description="Steps up.")
    step_size_down: int | None = Field(default=None, ge=1, description="Steps down; as many as up where unset.")
    mode: Literal["triangular", "triangular2", "exp_range"] = Field(
        default="triangular", description="Whether cycles stay as high, halve, or decay by gamma each step."
    )
    gamma: float = Field(default=1.0, gt=0, description="Factor of each step in the mode exp_range.")
    cycle_momentum: bool = Field(default=True, description="Whether the momentum moves.")
    base_momentum: float = Field(default=0.8, ge=0, lt=1, description="Momentum at the upper limit.")
    max_momentum: float = Field(default=0.9, ge=0, lt=1, description="Momentum at the lower limit.")


class OneCycleLR(SchedulerSchedule):
    """Up once, and down for the rest of the training, with the momentum the other way."""

    whole = "total_steps"

    type: Literal["OneCycleLR"] = Field(default="OneCycleLR", description="Name of the schedule.")
    max_lr: float = Field(gt=0, description="Highest learning rate.")
    total_steps: int | None = Field(default=None, ge=1, description="Length; the whole training where unset.")
    pct_start: float = Field(default=0.3, ge=0, le=1, description="Share of the length that goes up.")
    anneal_strategy: Literal["cos", "linear"] = Field(default="cos", description="Half cosines or straight lines.")
    cycle_momentum: bool = Field(default=True, description="Whether the momentum moves.")
    base_momentum: float = Field(default=0.85, ge=0, lt=1, description="Momentum at the highest rate.")
    max_momentum: float = Field(default=0.95, ge=0, lt=1, description="Momentum at the lowest rate.")
    div_factor: float = Field(default=25.0, gt=0, description="How many times smaller the first rate is.")
    final_div_factor: float = Field(default=1e4, gt=0, description="How many times smaller yet the last rate is.")
    three_phase: bool = Field(default=False, description="Whether to come down to the first rate as fast as up.")


class ReduceLROnPlateau(Schedule):
    """Times `factor` when evaluations bring no improvement."""

    type: Literal["ReduceLROnPlateau"] = Field(default="ReduceLROnPlateau", description="Name of the schedule.")
    monitor: str | None = Field(default=None, description="Value that is watched; that of `checkpoint` where unset.")
    mode: Mode | None = Field(default=None, description="Whether it improves by falling (min) or rising (max).")
    factor: float = Field(default=0.1, gt=0, lt=1, description="Factor of each reduction.")
    patience: int = Field(default=10, ge=0, description="Evaluations without improvement that are allowed.")
    threshold: float = Field(default=1e-4, ge=0, description="Smallest improvement that counts.")
    threshold_mode: Literal["rel", "abs"] = Field(default="rel", description="Whether it is a share or an amount.")
    cooldown: int = Field(default=0, ge=0, description="Evaluations after a reduction in which nothing is counted.")
    min_lr: float = Field(default=0.0, ge=0, description="Lower limit of the learning rate.")
    eps: float = Field(default=1e-8, ge=0, description="A smaller change of the learning rate is not made.")


class SequentialLR(SchedulerSchedule):
    """Schedulers one after the other, each from its milestone on."""

    type: Literal["SequentialLR"] = Field(default="SequentialLR", description="Name of the schedule.")
    schedulers: list[Schedule] = Field(min_length=1, description="The schedulers, in order.")
    milestones: list[int] = Field(description="Steps at which the second, the third, … takes over.")


class ChainedScheduler(SchedulerSchedule):
    """Schedulers all at once; their factors multiply."""

    type: Literal["ChainedScheduler"] = Field(default="ChainedScheduler", description="Name of the schedule.")
    schedulers: list[Schedule] = Field(min_length=1, description="The schedulers, in order.")


def _by_name(*models: type[Schedule]) -> dict[str, type[Schedule]]:
    return {model.model_fields["type"].default: model for model in models}


PARTS = _by_name(
    StepLR,
    MultiStepLR,
    ConstantLR,
    LinearLR,
    ExponentialLR,
    PolynomialLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    OneCycleLR,
    SequentialLR,
    ChainedScheduler,
)
"""What may stand inside `SequentialLR` and `ChainedScheduler`."""

SCHEDULES = {**_by_name(ConstantSchedule, StepSchedule, CosineSchedule), **PARTS, **_by_name(ReduceLROnPlateau)}

SCHEDULE_WORDS = {name.removesuffix("LR").casefold(): name for name in PARTS} | {
    "plateau": "ReduceLROnPlateau",
    "reduce_on_plateau": "ReduceLROnPlateau",
    "cosine_restarts": "CosineAnnealingWarmRestarts",
    "one_cycle": "OneCycleLR",
    "multi_step": "MultiStepLR",
}
"""Other words for schedules, for suggestions."""
