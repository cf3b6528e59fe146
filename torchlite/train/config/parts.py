"""What the sections of a configuration are made of."""

import math
import re
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from torchlite.audio.durations import seconds
from torchlite.train.registry import Kind

Mode = Literal["min", "max"]

_TIME = re.compile(r"(?P<value>[0-9]+(\.[0-9]+)?)\s*(?P<unit>s|sec|seconds?|min|minutes?|h|hours?)\Z")
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_DURATION = re.compile(r"(?P<value>[0-9]+(\.[0-9]+)?)\s*(?P<unit>st|steps?|ep|epochs?)\Z")


class Period:
    """A stretch of training (`Duration`) or of time (`Time`)."""

    @classmethod
    def parse(cls, text: Any) -> "Period":
        """The one that `text` says; a pydantic error says what is wrong with it."""
        if isinstance(text, Period):
            return text
        is_time = isinstance(text, str) and _TIME.match(text.strip())
        return Time.parse(text) if is_time else Duration.parse(text)

    def times(self, count: int) -> "Period":
        """So many of them."""
        raise TypeError(f"{count} times a period: it is neither a Duration nor a Time")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.parse)


@dataclass(frozen=True, slots=True)
class Time(Period):
    """A stretch of time, written ``90 s``, ``30 min`` or ``1.5 h``."""

    seconds: float

    @classmethod
    def parse(cls, text: Any) -> Self:
        """The time that `text` says; a pydantic error says what is wrong with it."""
        if isinstance(text, cls):
            return text
        match = _TIME.match(text.strip()) if isinstance(text, str) else None
        if match is None or float(match["value"]) <= 0:
            hint = "write e.g. '90 s', '30 min' or '1.5 h'"
            raise PydanticCustomError("duration", "must be a time", {"hint": hint})
        return cls(float(match["value"]) * _SECONDS[match["unit"][0]])

    def times(self, count: int) -> "Time":
        """So many of them."""
        return Time(count * self.seconds)

    def __str__(self) -> str:
        unit = next(unit for unit in ("h", "min", "s") if unit == "s" or self.seconds % _SECONDS[unit[0]] == 0)
        return f"{self.seconds / _SECONDS[unit[0]]:.15g} {unit}"


@dataclass(frozen=True, slots=True)
class Duration(Period):
    """A stretch of training, written ``500 steps`` (``500st``) or ``2 epochs`` (``2ep``); a step is one optimizer update."""

    value: float
    unit: Literal["steps", "epochs"]

    @classmethod
    def parse(cls, text: Any) -> Self:
        """The duration that `text` says; a pydantic error says what is wrong with it."""
        if isinstance(text, cls):
            return text
        if isinstance(text, (int, float)) and not isinstance(text, bool):
            hint = f"write '{text} steps' or '{text} epochs'"
            raise PydanticCustomError("duration", "needs a unit", {"hint": hint})
        match = _DURATION.match(text.strip()) if isinstance(text, str) else None
        if match is None:
            hint = "write e.g. '500 steps' or '2 epochs'"
            raise PydanticCustomError("duration", "must be a duration", {"hint": hint})
        value, is_steps = float(match["value"]), match["unit"].startswith("st")
        if value <= 0 or (is_steps and not value.is_integer()):
            hint = "steps are whole numbers from 1; epochs are above 0"
            raise PydanticCustomError("duration", "must be a duration above zero", {"hint": hint})
        return cls(value, "steps" if is_steps else "epochs")

    def times(self, count: int) -> "Duration":
        """So many of them."""
        return Duration(count * self.value, self.unit)

    def steps(self, steps_per_epoch: int) -> int:
        """The duration in optimizer steps, at least 1."""
        if self.unit == "steps":
            return int(self.value)
        return max(1, math.ceil(self.value * steps_per_epoch))

    def __str__(self) -> str:
        unit = self.unit if self.value != 1 else self.unit[:-1]
        return f"{self.value:.15g} {unit}"


class Seconds(float):
    """A stretch of time, written ``1.5 s`` or ``250 ms``."""

    @classmethod
    def parse(cls, text: Any) -> Self:
        """The stretch that `text` says; a pydantic error says what is wrong with it."""
        if isinstance(text, cls):
            return text
        if isinstance(text, (int, float)) and not isinstance(text, bool):
            raise PydanticCustomError("duration", "needs a unit", {"hint": f"write '{text} s' or '{text} ms'"})
        hint = "write e.g. '1.5 s' or '250 ms'"
        try:
            return cls(seconds(text if isinstance(text, str) else ""))
        except ValueError:
            raise PydanticCustomError("duration", "must be a stretch of time", {"hint": hint}) from None

    def __str__(self) -> str:
        return f"{float(self):.15g} s"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.parse)


UNITS = (Duration, Time, Period, Seconds)
"""The types whose values are written with a unit."""


@dataclass(frozen=True, slots=True)
class Of:
    """Marks a field that holds a component of a kind."""

    kind: Kind


def mark_of(info: FieldInfo) -> Of | None:
    """The mark on a field that holds a component, a list of them, or a mapping to them; None of other fields."""
    annotation = info.annotation
    inner = typing.get_args(without_none(annotation))
    found = [*info.metadata, *(mark for part in (annotation, *inner) for mark in _marks(part))]
    return next((mark for mark in found if isinstance(mark, Of)), None)


def _marks(annotation: Any) -> Iterator[Any]:
    yield from getattr(annotation, "__metadata__", ())
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        for part in typing.get_args(annotation):
            yield from _marks(part)


def without_none(annotation: Any) -> Any:
    """``X`` of ``X | None``; metadata of `Annotated` aside."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        inner = [one for one in typing.get_args(annotation) if one is not type(None)]
        annotation = inner[0] if len(inner) == 1 else annotation
    if typing.get_origin(annotation) is typing.Annotated:
        return typing.get_args(annotation)[0]
    return annotation


class Section(BaseModel):
    """A mapping of the configuration with a fixed set of keys."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, arbitrary_types_allowed=True
    )

    from_list: ClassVar[tuple[str, ...]] = ()
    """The keys that a plain list in place of the mapping stands for."""
