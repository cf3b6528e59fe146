"""Parts of a model that are not trained: which, and until which step."""

from __future__ import annotations

from torchlite import nn
from torchlite.train.config.schema import Freeze
from torchlite.train.patterns import matched, matches


class Freezing:
    """Switches gradients on and off by the step, so that a resumed run needs to know nothing more.

    A module whose parameters are all frozen is in evaluation mode, so that the statistics of its batch norms stay, too.
    """

    def __init__(self, freeze: Freeze | None, model: nn.Module, steps_per_epoch: int) -> None:
        self._model = model
        self._modules = freeze.modules if freeze is not None else []
        after = freeze.unfreeze if freeze is not None else {}
        self._until = {pattern: duration.steps(steps_per_epoch) for pattern, duration in after.items()}
        self._frozen: frozenset[str] | None = None
        self._still: list[nn.Module] = []

    @property
    def ends(self) -> frozenset[int]:
        """The steps from which on parameters are trained that were frozen before."""
        return frozenset(self._until.values())

    def begin(self, step: int) -> None:
        """Make ready for optimizer step ``step`` (from 0)."""
        if not self._modules:
            return
        frozen = frozenset(p for p in self._modules if p not in self._until or step < self._until[p])
        if frozen != self._frozen:
            self._frozen = frozen
            for name, parameter in self._model.named_parameters():
                parameter.requires_grad_(not matched(frozen, name))
                if not parameter.requires_grad:
                    parameter.grad = None
            self._still = [
                module for name, module in self._model.named_modules() if any(matches(p, name) for p in frozen) and name
            ]
        for module in self._still:  # evaluation has put the whole model back into training mode
            module.training = False
