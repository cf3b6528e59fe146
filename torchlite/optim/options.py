"""Hyper-parameters: which values are refused, and tensors of one element that stand for numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from torchlite._tensor import Tensor

Options = Mapping[str, Any]


class Interval(NamedTuple):
    """The numbers from ``low`` on, below ``high`` (or up to it where ``closed``)."""

    low: float = 0.0
    high: float = math.inf
    closed: bool = False

    def holds(self, value: Any) -> bool:
        """Whether a number lies inside; NaN does not."""
        return bool(self.low <= value) and bool(value <= self.high if self.closed else value < self.high)

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"at least {self.low:g}"
        return f"at least {self.low:g} and {'at most' if self.closed else 'below'} {self.high:g}"


NOT_NEGATIVE, BELOW_ONE = Interval(), Interval(0, 1)
_LABELS = {"lr": "learning rate", "eps": "epsilon value", "betas": "beta parameter"}


def check_options(owner: str, options: Options, ranges: Mapping[str, Interval]) -> None:
    """Refuse what no rule can work with.

    Raises:
        ValueError: for a learning rate of more than one element, and for a number outside its interval.
        RuntimeError: for ways of updating that exclude each other.
    """
    lr = options.get("lr")
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError(f"Tensor lr must be 1-element; {owner} got one of shape {list(lr.shape)}")
    for name, interval in ranges.items():
        value, label = options[name], _LABELS.get(name, f"{name} value")
        if isinstance(value, (tuple, list)):
            for i, part in enumerate(value):
                _check(owner, f"{label} at index {i}", part, interval)
        else:
            _check(owner, label, value, interval)
    if options.get("fused") and options.get("differentiable"):
        raise RuntimeError("`fused` does not support `differentiable`")
    if options.get("fused") and options.get("foreach"):
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")


def _check(owner: str, label: str, value: Any, interval: Interval) -> None:
    if not interval.holds(value):
        raise ValueError(f"Invalid {label}: {value} ({owner} expects {interval})")


def resolved(group: Options) -> dict[str, Any]:
    """The hyper-parameters of a group, numbers where tensors stand for them.

    Tensors stay, without dimensions, where the group is ``capturable`` (a replayed step reads them again) and where it
    is ``differentiable`` and they want a gradient.
    """
    capturable, differentiable = group.get("capturable", False), group.get("differentiable", False)
    return {
        name: _plain(value, capturable, differentiable)
        for name, value in group.items()
        if name not in ("params", "param_names")
    }


def _plain(value: Any, capturable: bool, differentiable: bool) -> Any:
    if isinstance(value, (tuple, list)):
        return tuple(_plain(v, capturable, differentiable) for v in value)
    if not isinstance(value, Tensor) or value.numel() != 1:
        return value
    return value.reshape(()) if capturable or (differentiable and value.requires_grad) else value.item()
