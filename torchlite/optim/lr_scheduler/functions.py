"""Schedulers made of functions of the step."""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from typing import Any

from torchlite.optim.lr_scheduler.scheduler import LRScheduler, Rate
from torchlite.optim.optimizer import Optimizer

Factor = Callable[[int], float]


def function_state(function: Any) -> dict[str, Any] | None:
    """What a callable object remembers; None for a function, which can't be saved."""
    return None if isinstance(function, types.FunctionType) else dict(vars(function))


class _FunctionLR(LRScheduler):
    def __init__(self, optimizer: Optimizer, lr_lambda: Factor | Sequence[Factor], last_epoch: int = -1) -> None:
        count = len(optimizer.param_groups)
        functions: list[Any] = list(lr_lambda) if isinstance(lr_lambda, (list, tuple)) else [lr_lambda] * count
        if len(functions) != count:
            raise ValueError(f"Expected {count} lr_lambdas, but got {len(functions)}")
        for function in functions:
            if not callable(function):
                raise TypeError(f"lr_lambda should be a function, but got {type(function).__name__}")
        self.lr_lambdas: list[Factor] = functions
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer and functions; of callable objects their attributes."""
        return {**super().state_dict(), "lr_lambdas": [function_state(f) for f in self.lr_lambdas]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state; the functions are those given to the constructor."""
        super().load_state_dict({name: value for name, value in state_dict.items() if name != "lr_lambdas"})
        for function, state in zip(self.lr_lambdas, state_dict["lr_lambdas"], strict=True):
            if state is not None:
                vars(function).update(state)


class LambdaLR(_FunctionLR):
    """The initial learning rate times a function of the step: lr₀ · λ(t).

    Args:
        optimizer: whose learning rates to set.
        lr_lambda: λ, or a list of one for each parameter group.
        last_epoch: index of the step before the first; -1 starts afresh.

    Raises:
        ValueError: for a list of another length.
        TypeError: for something that can't be called.
    """

    def _rates(self) -> list[Rate]:
        return [base * f(self.last_epoch) for base, f in zip(self.base_lrs, self.lr_lambdas, strict=True)]


class MultiplicativeLR(_FunctionLR):
    """The learning rate of the step before times a function of the step: lr(t) = lr(t - 1) · λ(t).

    Args:
        optimizer: whose learning rates to set.
        lr_lambda: λ, or a list of one for each parameter group.
        last_epoch: index of the step before the first; -1 starts afresh.

    Raises:
        ValueError: for a list of another length.
        TypeError: for something that can't be called.
    """

    def _rates(self) -> list[Rate]:
        groups = self.optimizer.param_groups
        if self._is_initial:
            return [group["lr"] for group in groups]
        return [group["lr"] * f(self.last_epoch) for group, f in zip(groups, self.lr_lambdas, strict=True)]
