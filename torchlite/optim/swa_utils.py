"""Averages of a model's parameters over the course of its training: SWA (Izmailov et al., 2018) and EMA."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from itertools import chain
from typing import Any, Literal

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import no_grad
from torchlite.nn.batch_norm import _BatchNorm
from torchlite.nn.module import Module
from torchlite.ops.creation import zeros
from torchlite.optim.lr_scheduler.cosine import between
from torchlite.optim.lr_scheduler.scheduler import LRScheduler, Rate, per_group
from torchlite.optim.optimizer import Optimizer
from torchlite.tracing import valid

__all__ = [
    "SWALR",
    "AveragedModel",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]

Average = Callable[[Tensor, Tensor, Any], Tensor]
MultiAverage = Callable[[list[Tensor], list[Tensor], Any], None]


def _checked_decay(decay: float) -> float:
    if not 0.0 <= decay <= 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")
    return decay


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """The function (average, value, count) → decay · average + (1 - decay) · value.

    Raises:
        ValueError: for a decay outside [0, 1].
    """
    _checked_decay(decay)

    @no_grad()
    def ema_update(ema_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:  # noqa: ARG001
        return ema_param * decay + current_param * (1 - decay)

    return ema_update


def get_swa_avg_fn() -> Average:
    """The function (average, value, count) → average + (value - average) / (count + 1)."""

    @no_grad()
    def swa_update(averaged_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        return averaged_param + (current_param - averaged_param) / (num_averaged + 1)

    return swa_update


def _of_lists(average: Average, share: Callable[[Any], Any]) -> MultiAverage:
    """``average`` of each pair in place; floating-point ones as average + share(count) · (value - average)."""

    @no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], num_averaged: Any) -> None:
        weight = float(share(num_averaged))
        for mean, value in zip(averaged, current, strict=True):
            if mean.is_floating_point() or mean.is_complex():
                mean.lerp_(value, weight)
            else:
                mean.copy_(average(mean, value, num_averaged))

    return update


def get_ema_multi_avg_fn(decay: float = 0.999) -> MultiAverage:
    """`get_ema_avg_fn` for lists of tensors, the averages in place.

    Raises:
        ValueError: for a decay outside [0, 1].
    """
    return _of_lists(get_ema_avg_fn(decay), lambda _count: 1 - decay)


def get_swa_multi_avg_fn() -> MultiAverage:
    """`get_swa_avg_fn` for lists of tensors, the averages in place."""
    return _of_lists(get_swa_avg_fn(), lambda count: 1 / (count + 1))


class AveragedModel(Module):
    """A copy of a model that holds averages of its parameters; the mean of all (SWA) unless a function is given.

    Args:
        model: what to average; the copy is made now.
        device: where the averages are kept; with the model where None.
        avg_fn: from an average, a value and the number of values so far to the next average.
        multi_avg_fn: the same for lists of tensors of one dtype and device, in place.
        use_buffers: whether buffers are averaged like parameters; otherwise they are those of the last model.

    Raises:
        AssertionError: for both functions.

    >>> import torchlite as torch
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> average = torch.optim.swa_utils.AveragedModel(model)
    >>> for value in (1.0, 2.0, 6.0):
    ...     _ = torch.nn.init.constant_(model.weight, value)
    ...     average.update_parameters(model)
    >>> average.module.weight.item()
    3.0
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Average | None = None,
        multi_avg_fn: MultiAverage | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module.to(device)
        self.register_buffer("n_averaged", zeros((), dtype=dtypes.int64, device=device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the averaged model computes."""
        return self.module(*args, **kwargs)

    @no_grad()
    def update_parameters(self, model: Module) -> None:
        """Take the present values of ``model`` into the averages; the first are taken as they are."""
        pairs = [(mean.detach(), value.detach().to(mean.device)) for mean, value in self._pairs(model)]
        if not valid(self.n_averaged != 0):
            for mean, value in pairs:
                mean.copy_(value)
        elif self.multi_avg_fn is not None:
            groups: dict[Any, list[tuple[Tensor, Tensor]]] = {}
            for mean, value in pairs:
                groups.setdefault((mean.device, mean.dtype), []).append((mean, value))
            for (device, _), group in groups.items():
                means, values = map(list, zip(*group, strict=True))
                self.multi_avg_fn(means, values, self.n_averaged.to(device))
        else:
            average = self.avg_fn or get_swa_avg_fn()
            for mean, value in pairs:
                mean.copy_(average(mean, value, self.n_averaged.to(mean.device)))
        if not self.use_buffers:
            for mine, theirs in zip(self.module.buffers(), model.buffers(), strict=True):
                mine.copy_(theirs)
        self.n_averaged += 1

    def _pairs(self, model: Module) -> Iterator[tuple[Tensor, Tensor]]:
        if self.use_buffers:
            mine, theirs = (chain(m.parameters(), m.buffers()) for m in (self.module, model))
            return zip(mine, theirs, strict=False)
        return zip(self.parameters(), model.parameters(), strict=False)


@no_grad()
def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Measure the statistics of all batch norms anew, as the plain mean over the batches of ``loader``.

    Args:
        loader: batches; of a list or tuple the first element goes into the model.
        model: is called in training mode for every batch, and is left in the mode it had.
        device: where the batches are moved to.
    """
    momenta = {module: module.momentum for module in model.modules() if isinstance(module, _BatchNorm)}
    if not momenta:
        return
    for module in momenta:
        module.reset_running_stats()
        module.momentum = None
    was_training = model.training
    model.train()
    for batch in loader:
        inputs = batch[0] if isinstance(batch, (list, tuple)) else batch
        model(inputs if device is None else inputs.to(device))
    for module, momentum in momenta.items():
        module.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """From the rate that another scheduler has set to the constant ``swa_lr`` in ``anneal_epochs`` steps.

    lr(t) = α swa_lr + (1 - α) lr with α = t / anneal_epochs, or half a cosine of it, and lr the rate at the start; a step
    finds it from the present rate.

    Args:
        optimizer: whose learning rates to set.
        swa_lr: the rate to end at, for all groups or one for each.
        anneal_epochs: steps of the way there.
        anneal_strategy: "cos" or "linear".
        last_epoch: index of the step before the first; -1 starts afresh.

    Raises:
        ValueError: for an unknown strategy, ``anneal_epochs`` that is no integer ≥ 0, a list of another length.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | list[float],
        anneal_epochs: int = 10,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        last_epoch: int = -1,
    ) -> None:
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        for rate, group in zip(per_group("swa_lr", optimizer, swa_lr), optimizer.param_groups, strict=True):
            group["swa_lr"] = rate
        self._anneal_strategy = anneal_strategy
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _share(self, step: int) -> float:
        """How far on the way step ``step`` is."""
        t = max(0.0, min(1.0, step / max(1, self.anneal_epochs)))
        return t if self._anneal_strategy == "linear" else float(between(0.0, 1.0, t))

    def _rates(self) -> list[Rate]:
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        share, share_before = self._share(step), self._share(step - 1)

        def rate(lr: Any, swa_lr: Any) -> Any:
            start = swa_lr if share_before == 1 else (lr - share_before * swa_lr) / (1 - share_before)
            return swa_lr * share + start * (1 - share)

        return [rate(group["lr"], group["swa_lr"]) for group in self.optimizer.param_groups]
