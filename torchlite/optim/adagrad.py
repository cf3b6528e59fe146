"""Adagrad."""

from __future__ import annotations

from typing import Any, ClassVar

from torchlite._tensor import Tensor
from torchlite.ops.creation import full_like
from torchlite.optim.descent import descent
from torchlite.optim.optimizer import Optimizer
from torchlite.optim.options import NOT_NEGATIVE, Interval, Options
from torchlite.optim.pack import Pack, counter


class Adagrad(Optimizer):
    """Steps by the ratio of the gradient and the root of all its squares so far (Duchi et al., 2011).

        g ← ∇θ + weight_decay · θ
        s ← s + g²
        θ ← θ - lr / (1 + (t - 1) lr_decay) · g / (√s + eps)

    Args:
        params: what to optimize.
        lr: learning rate.
        lr_decay: how fast it falls.
        weight_decay: L2 penalty.
        initial_accumulator_value: s before the first step.
        eps: keeps the denominator from 0.
        maximize, differentiable, foreach, fused: as in `Adam`.
    """

    ranges: ClassVar[dict[str, Interval]] = dict.fromkeys(
        ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps"), NOT_NEGATIVE
    )
    counters = ("step",)

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value, "foreach": foreach, "maximize": maximize,
            "differentiable": differentiable, "fused": fused,
        }  # fmt: skip
        super().__init__(params, defaults)
        for group in self.param_groups:
            for param in group["params"]:
                self.state[param] = self.init(param, group)

    def init(self, param: Tensor, group: Options) -> dict[str, Tensor]:
        """The sum as it is before the first step."""
        value = self.defaults["initial_accumulator_value"]
        return {
            "step": counter(param, group),
            "sum": full_like(param, complex(value, value) if param.is_complex() else value),
        }

    def update(self, pack: Pack, options: Options) -> None:
        """One step of the rule above."""
        rate = options["lr"] / (1 + (pack.advance() - 1) * options["lr_decay"])
        for param, grad, s in pack.blocks("sum"):
            g = descent(param, grad, options)
            s.add_(g * g)
            param.sub_(g / (s.sqrt() + options["eps"]) * rate)
