"""The base of all schedulers: it counts steps and sets the learning rate of every parameter group."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import no_grad
from torchlite.optim.optimizer import Optimizer
from torchlite.tracing import at_replay

Rate = float | Tensor

EPOCH_IS_DEPRECATED = (
    "The epoch parameter in `scheduler.step()` was not necessary and is being deprecated where possible. Please use "
    "`scheduler.step()` to step the scheduler. During the deprecation, if epoch is different from None, the closed form "
    "is used instead of the new chainable form, where available."
)

_has_stepped: WeakKeyDictionary[Optimizer, bool] = WeakKeyDictionary()


class LRScheduler:
    """Sets the learning rate of every parameter group; a subclass defines `get_lr`.

    Args:
        optimizer: whose learning rates to set.
        last_epoch: index of the step before the first; -1 starts afresh.

    Raises:
        TypeError: for something that is no optimizer.
        KeyError: when going on from ``last_epoch`` with an optimizer whose groups have no "initial_lr".
    """

    _get_lr_called_within_step = False
    _is_initial = False

    def __init_subclass__(cls) -> None:
        if "step" in cls.__dict__:
            cls.step = at_replay(cls.step)  # type: ignore[method-assign]

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.optimizer = checked_optimizer(optimizer)
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:  # another scheduler may have changed the rate already
                group.setdefault("initial_lr", own(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{i}] when resuming scheduler with "
                    f"last_epoch >= 0: load the state of the optimizer first, or start with last_epoch=-1"
                )
        self.base_lrs = group_values(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        if optimizer not in _has_stepped:
            _has_stepped[optimizer] = False
            optimizer.register_step_post_hook(note_step)
        self._initial_step()

    def _initial_step(self) -> None:
        """The step that sets the first rates."""
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def get_lr(self) -> list[Rate]:
        """The rate of each group at ``last_epoch``; `step` calls it, and `get_last_lr` is for everybody else."""
        if not self._get_lr_called_within_step:
            warnings.warn(
                "To get the last learning rate computed by the scheduler, please use `get_last_lr()`.", stacklevel=2
            )
        return self._rates()

    def _rates(self) -> list[Rate]:
        raise NotImplementedError(f"{type(self).__name__} does not define get_lr()")

    def get_last_lr(self) -> list[Rate]:
        """The learning rate of each group as it was last set."""
        return self._last_lr

    @at_replay
    def step(self, epoch: int | None = None) -> None:
        """Go one step on and set the learning rates.

        Args:
            epoch: the step to jump to; deprecated.
        """
        if self._step_count == 1:
            _warn_of_the_wrong_order(self.optimizer)
        self._step_count += 1
        if epoch is not None:
            warnings.warn(EPOCH_IS_DEPRECATED, stacklevel=2)
        self._update_lr(epoch)

    def _update_lr(self, epoch: int | None = None) -> None:
        """Go one step on by the chainable form, or to ``epoch`` by the closed form where there is one."""
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        closed_form = getattr(self, "_get_closed_form_lr", self.get_lr)
        self._get_lr_called_within_step = True
        try:
            rates = self.get_lr() if epoch is None else closed_form()
        finally:
            self._get_lr_called_within_step = False
        self._set(rates)

    def _set(self, rates: Sequence[Rate]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            set_value(group, "lr", rate)
        self._last_lr = group_values(self.optimizer, "lr")

    def _changing_numbers(self) -> list[tuple[dict[str, Any], Any]]:
        """For a captured step: where Python numbers are that a step changes, and under which keys (None for all)."""
        return [(vars(self), None), *self.optimizer._changing_numbers()]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer."""
        return {name: value for name, value in self.__dict__.items() if name != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state, ours or PyTorch's."""
        self.__dict__.update(state_dict)


def checked_optimizer(optimizer: Any) -> Optimizer:
    """``optimizer``, unless it is none."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
    return optimizer


def own(value: Any) -> Any:
    """A number, or a copy of a tensor, which the optimizer may keep and change."""
    return value.clone() if isinstance(value, Tensor) else value


def group_values(optimizer: Optimizer, name: str) -> list[Any]:
    """A hyper-parameter of every group."""
    return [own(group[name]) for group in optimizer.param_groups]


def set_value(group: dict[str, Any], name: str, value: Rate) -> None:
    """Set a hyper-parameter; one that is a tensor stays the same tensor."""
    if isinstance(group[name], Tensor):
        with no_grad():
            group[name].fill_(float(value))
    else:
        group[name] = value


def per_group(name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """``value`` for every group, or the list of one value a group.

    Raises:
        ValueError: for a list of another length.
    """
    count = len(optimizer.param_groups)
    values = list(value) if isinstance(value, (list, tuple)) else [value] * count
    if len(values) != count:
        raise ValueError(
            f"{name} must have the same length as optimizer.param_groups: {name} has {len(values)} values, "
            f"param_groups has {count}"
        )
    return [own(v) for v in values]


def note_step(optimizer: Optimizer, *_: Any) -> None:
    """Remember that ``optimizer`` has made a step, so that its schedulers may."""
    _has_stepped[optimizer] = True


def _warn_of_the_wrong_order(optimizer: Optimizer) -> None:
    if "step" in vars(optimizer) or optimizer not in _has_stepped:
        warnings.warn(
            "Seems like `optimizer.step()` has been overridden after learning rate scheduler initialization. Please, make "
            "sure to call `optimizer.step()` before `lr_scheduler.step()`.",
            stacklevel=3,
        )
    elif not _has_stepped[optimizer]:
        warnings.warn(
            "Detected call of `lr_scheduler.step()` before `optimizer.step()`. Call them in the opposite order: "
            "otherwise the first value of the learning rate schedule is skipped.",
            stacklevel=3,
        )
