"""What a student's layers learn from those of its teacher (Romero et al., "FitNets: Hints for Thin Deep Nets", 2015)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from torchlite import nn
from torchlite._tensor import Tensor
from torchlite.nn import functional as F

_DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mse": F.mse_loss, "l1": F.l1_loss}


@dataclass(frozen=True)
class Hint:
    """A pair of modules by their names, and how much and how the difference of what they give counts."""

    student: str
    teacher: str
    type: str = "mse"
    weight: float = 1.0


def read_hints(written: Sequence[Mapping[str, Any]]) -> list[Hint]:
    """The hints of a configuration.

    Raises:
        ValueError: when one is none.
    """
    found = []
    for one in written:
        try:
            hint = Hint(**one)
        except TypeError:
            raise ValueError(f"a hint has student, teacher, type and weight, not {', '.join(one)}") from None
        if hint.type not in _DISTANCES or not hint.weight > 0:
            raise ValueError(
                f"a hint is of the type {' or '.join(_DISTANCES)} and of a weight above 0, got {dict(one)}"
            )
        found.append(hint)
    return found


class Hints:
    """The summed, weighted differences of the last values that pairs of modules gave."""

    def __init__(self, hints: Sequence[Hint], student: nn.Module, teacher: nn.Module) -> None:
        self.hints = tuple(hints)
        self._student = [_watched(student, hint.student, "student") for hint in hints]
        self._teacher = [_watched(teacher, hint.teacher, "teacher") for hint in hints]

    def loss(self) -> Tensor:
        """The sum over all hints; the values are forgotten.

        Raises:
            ValueError: where a pair gave values of different shapes.
        """
        total: Any = 0.0
        for hint, seen, taught in zip(self.hints, self._student, self._teacher, strict=True):
            own, other = seen.pop(), taught.pop()
            if own.shape != other.shape:
                raise ValueError(
                    f"the hint compares '{hint.student}' {list(own.shape[1:])} with '{hint.teacher}' {list(other.shape[1:])}: "
                    "these must have one shape"
                )
            total = total + hint.weight * _DISTANCES[hint.type](own, other)
        return total


def _watched(model: nn.Module, name: str, whose: str) -> list[Tensor]:
    """A list that will hold the last value that a module gave."""
    modules = dict(model.named_modules())
    if name not in modules:
        close = get_close_matches(name, modules, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"there are {', '.join(filter(None, modules))}"
        raise ValueError(f"the {whose} has no module '{name}' for a hint; {hint}")
    seen: list[Tensor] = []

    def remember(_module: nn.Module, _inputs: Any, output: Any) -> None:
        seen[:] = [output]

    modules[name].register_forward_hook(remember)
    return seen
