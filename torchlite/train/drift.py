"""What changed in the configuration since a run began, and what that means for the run that goes on.

A change is *exact* where the steps still to come are those of a run that had the new value from the beginning, *inexact*
where they are not, and *forbidden* where the checkpoint would not fit, or samples held out so far would be trained on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from torchlite.train.config.schema import Config
from torchlite.train.config.show import flat

Class = Literal["exact", "inexact", "forbidden"]

_FORBIDDEN = {
    r"models?\b": "the weights of the checkpoint are those of the old model",
    r"(optim|optim\.\w+)\.type$": "the state of the optimizer is that of the old one",
    r"train\.ema$": "the checkpoint holds the average that the old value made, or none",
    r"train\.step\b": "the step of one's own decides what the checkpoint means",
    r"data\.(type|inputs|target|context|alphabet|classes|image|sample_rate|clip)\b": "the model learns something else",
    r"data\.split\b": "samples that were held out would be trained on",
}
_EXACT = {
    r"name$": "only the name of new folders",
    r"(vars|code|extends|abstract|version)\b": "only what other keys refer to",
    r"data\.(workers|cache|root|download|train|test|files)\b": "the data is compared with what the run began with",
    r"(early_stop\b|train\.(nonfinite_limit|time)$)": "only when the run ends",
    r"(metrics|callbacks|export)\b": "only what is measured and written",
    r"init\b": "only the beginning",
}
_WITHOUT_PLATEAU = {r"eval\b": "steps do not depend on evaluations"}
_WITHOUT_ROLLBACK = {r"checkpoint\b": "steps do not depend on checkpoints"}
_WITHOUT_LENGTH = {r"train\.(steps|epochs)$": "the schedule does not depend on the length"}

_LENGTHLESS = {"constant", "step", "StepLR", "MultiStepLR", "ExponentialLR"}
"""Schedules whose learning rate does not depend on how long the training is."""


@dataclass(frozen=True)
class Drift:
    """One key that changed.

    Attributes:
        key: where it stands.
        old, new: its values; None where it was or is not set.
        effect: what the change means.
        reason: why.
    """

    key: str
    old: Any
    new: Any
    effect: Class
    reason: str

    def __str__(self) -> str:
        return f"{self.key} {_text(self.old)} -> {_text(self.new)}  {self.effect}: {self.reason}"


def drift(old: Config, new: Config) -> list[Drift]:
    """Every key whose value differs, with what that means."""
    before, after = flat(old.resolved()), flat(new.resolved())
    keys = sorted(key for key in {*before, *after} if before.get(key) != after.get(key))
    return [Drift(key, before.get(key), after.get(key), *_effect(key, old, new)) for key in keys]


def _effect(key: str, old: Config, new: Config) -> tuple[Class, str]:
    for effect, patterns in _rules(old, new):
        for pattern, reason in patterns.items():
            if re.match(pattern, key):
                return effect, reason
    if re.match(r"train\.(steps|epochs)$", key):
        return "inexact", f"the {new.schedule.type} schedule stretches over the whole length"
    return "inexact", "steps already taken were taken with the old value"


def _rules(old: Config, new: Config) -> Iterator[tuple[Class, dict[str, str]]]:
    yield "forbidden", _FORBIDDEN
    yield "exact", _EXACT
    schedules = {old.schedule.type, new.schedule.type}
    if not any("plateau" in name.lower() for name in schedules):
        yield "exact", _WITHOUT_PLATEAU
    if "rollback" not in (old.train.on_nonfinite, new.train.on_nonfinite):
        yield "exact", _WITHOUT_ROLLBACK
    if schedules <= _LENGTHLESS:
        yield "exact", _WITHOUT_LENGTH


def _text(value: Any) -> str:
    return "unset" if value is None else str(value)
