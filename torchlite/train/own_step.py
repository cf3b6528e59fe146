"""A training step of the user's own, ``train.step``: what it gets and what it gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from torchlite import nn
from torchlite._tensor import Tensor
from torchlite.devices import Device
from torchlite.errors import UserCodeError
from torchlite.optim import Optimizer


@dataclass(frozen=True)
class StepContext:
    """What a step works on.

    Attributes:
        models, optimizers: by the names that the configuration gives them; ``model`` where there is one.
        loss: of the configuration.
        device: where the batch and the models are.
        step, epoch: how many are done.
    """

    models: Mapping[str, nn.Module]
    optimizers: Mapping[str, Optimizer]
    loss: nn.Module
    device: Device
    step: int
    epoch: int

    @classmethod
    def of(
        cls,
        model: nn.Module,
        optimizers: Mapping[str, Optimizer],
        loss: nn.Module,
        device: Device,
        step: int,
        epoch: int,
    ) -> Self:
        """The context of a step; several models are the children of ``model``."""
        models = {"model": model} if "model" in optimizers else dict(model.named_children())
        return cls(models, optimizers, loss, device, step, epoch)


class OwnStep(Protocol):
    """What a class named by ``train.step`` does."""

    def __call__(self, context: StepContext, batch: tuple[Tensor, Tensor]) -> Mapping[str, Any]:
        """Take one step, whatever it is; the numbers to report by name."""


def checked_reports(returned: Any, promised: Sequence[str]) -> dict[str, float]:
    """What a step returned, as numbers, in the order in which ``train.reports`` promises them.

    Raises:
        UserCodeError: when it is something else.
    """
    if not isinstance(returned, Mapping):
        raise UserCodeError(f"train.step must return a mapping from names to numbers, not {type(returned).__name__}")
    missing = [name for name in promised if name not in returned]
    extra = [name for name in returned if name not in promised]
    if missing or extra:
        raise UserCodeError(
            f"train.reports lists {', '.join(promised) or 'nothing'}, but the step returned {', '.join(returned) or 'nothing'}"
        )
    return {name: float(returned[name]) for name in promised}
