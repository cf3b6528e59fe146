"""Adadelta."""

from __future__ import annotations

from typing import Any, ClassVar

from torchlite._tensor import Tensor
from torchlite.ops.creation import zeros_like
from torchlite.optim.descent import descent
from torchlite.optim.optimizer import Optimizer
from torchlite.optim.options import NOT_NEGATIVE, Interval, Options
from torchlite.optim.pack import Pack, counter


class Adadelta(Optimizer):
    """Steps in the units of the parameters: by the ratio of past changes and gradients (Zeiler, 2012).

        g ← ∇θ + weight_decay · θ
        v ← ρ v + (1 - ρ) g²
        δ = √(u + eps) / √(v + eps) · g
        u ← ρ u + (1 - ρ) δ²
        θ ← θ - lr · δ

    Args:
        params: what to optimize.
        lr: learning rate.
        rho: share of the averages u and v that is kept.
        eps: keeps the denominator from 0 and starts the movement.
        weight_decay: L2 penalty.
        capturable, maximize, differentiable, foreach: as in `Adam`.
    """

    ranges: ClassVar[dict[str, Interval]] = {
        "lr": NOT_NEGATIVE, "rho": Interval(0, 1, closed=True), "eps": NOT_NEGATIVE, "weight_decay": NOT_NEGATIVE,
    }  # fmt: skip
    counters = ("step",)

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
            "capturable": capturable, "foreach": foreach, "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def init(self, param: Tensor, group: Options) -> dict[str, Tensor]:
        """Averages of nothing."""
        return {"step": counter(param, group), "square_avg": zeros_like(param), "acc_delta": zeros_like(param)}

    def update(self, pack: Pack, options: Options) -> None:
        """One step of the rule above."""
        rho, eps = options["rho"], options["eps"]
        pack.advance()
        for param, grad, v, u in pack.blocks("square_avg", "acc_delta"):
            g = descent(param, grad, options)
            v.mul_(rho).add_((g * g).mul_(1 - rho))
            delta = ((u + eps) / (v + eps)).sqrt() * g
            u.mul_(rho).add_((delta * delta).mul_(1 - rho))
            param.sub_(delta * options["lr"])
