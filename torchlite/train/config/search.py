"""What a sweep tries: values for keys of the configuration, and how they are chosen."""

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from torchlite.train.config.parts import Duration, Mode, Section

Method = Literal["grid", "random", "asha", "optuna"]
RANGES = ("uniform", "log_uniform", "int_uniform", "log_int_uniform")


class Candidates(Section):
    """The values that a sweep tries for one key: a choice, which a plain list stands for, or a range."""

    from_list: ClassVar[tuple[str, ...]] = ("choice",)

    choice: list[Any] | None = Field(default=None, description="Values to choose from.")
    uniform: list[float] | None = Field(default=None, description="Least and greatest of numbers, all as likely.")
    log_uniform: list[float] | None = Field(
        default=None, description="Least and greatest of numbers whose logarithms are all as likely."
    )
    int_uniform: list[int] | None = Field(default=None, description="Least and greatest of whole numbers.")
    log_int_uniform: list[int] | None = Field(
        default=None, description="Least and greatest of whole numbers, small ones more likely, as in log_uniform."
    )

    @field_validator("choice")
    @classmethod
    def _some(cls, values: list[Any]) -> list[Any]:
        if not values:
            raise PydanticCustomError("bounds", "must have at least one value")
        return values

    @field_validator(*RANGES)
    @classmethod
    def _two(cls, bounds: list[float]) -> list[float]:
        if len(bounds) != 2 or not bounds[0] < bounds[1]:
            raise PydanticCustomError("bounds", "must be two numbers, the smaller one first")
        return bounds

    @field_validator("log_uniform", "log_int_uniform")
    @classmethod
    def _positive(cls, bounds: list[float]) -> list[float]:
        if bounds[0] <= 0:
            raise PydanticCustomError("bounds", "must be above 0, because logarithms are taken")
        return bounds

    @property
    def range(self) -> tuple[str, float, float] | None:
        """The kind of range with its bounds; None of a choice."""
        for kind in RANGES:
            if (bounds := getattr(self, kind)) is not None:
                return kind, bounds[0], bounds[1]
        return None

    @classmethod
    def kinds(cls: type[Self]) -> tuple[str, ...]:
        """The keys, of which one is needed."""
        return tuple(cls.model_fields)


class Asha(Section):
    """Successive halving: many trials begin, and only the best of those that got equally far go on."""

    first: Duration = Field(
        default=Duration(1, "epochs"), description="Stretch of training after which trials are compared first."
    )
    factor: int = Field(
        default=3, ge=2, description="One in so many goes on, and then that many times as far as before."
    )


class Sweep(Section):
    """Trainings with other values of some keys, to find the best; see `torchlite sweep`."""

    method: Method = Field(
        default="random",
        description="grid (every combination), random, asha (random, and the bad ones stop early), or optuna (follows results).",
    )
    params: dict[str, Candidates] = Field(description="What is tried for each key, e.g. optim.lr: {uniform: [0, 1]}.")
    trials: int | None = Field(default=None, ge=1, description="How many to train; a grid has its own number.")
    seed: int = Field(default=0, ge=0, lt=2**64, description="Seed of the choices; that of the trainings is `seed`.")
    monitor: str | None = Field(
        default=None, description="Value by which trials are compared, at its best; the checkpoint's where unset."
    )
    mode: Mode | None = Field(default=None, description="Whether the smallest (min) or largest (max) value is best.")
    asha: Asha = Field(default=Asha(), description="What `method: asha` does.")
