"""Adamax."""

from __future__ import annotations

from typing import Any, ClassVar

from torchlite._tensor import Tensor
from torchlite.ops.arithmetic import maximum
from torchlite.ops.creation import zeros_like
from torchlite.optim.descent import descent
from torchlite.optim.optimizer import Optimizer
from torchlite.optim.options import BELOW_ONE, NOT_NEGATIVE, Interval, Options
from torchlite.optim.pack import Pack, counter


class Adamax(Optimizer):
    """Adam with the largest recent gradient in the place of its root mean square (Kingma & Ba, 2015).

        g ← ∇θ + weight_decay · θ
        m ← β₁ m + (1 - β₁) g                u ← max(β₂ u, |g| + eps)
        θ ← θ - lr / (1 - β₁ᵗ) · m / u

    Args:
        params: what to optimize.
        lr: learning rate.
        betas: (β₁, β₂).
        eps: keeps the denominator from 0.
        weight_decay: L2 penalty.
        maximize, differentiable, capturable, foreach: as in `Adam`.
    """

    ranges: ClassVar[dict[str, Interval]] = {
        "lr": NOT_NEGATIVE, "eps": NOT_NEGATIVE, "betas": BELOW_ONE, "weight_decay": NOT_NEGATIVE,
    }  # fmt: skip
    counters = ("step",)

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def init(self, param: Tensor, group: Options) -> dict[str, Tensor]:
        """Averages of nothing."""
        return {"step": counter(param, group), "exp_avg": zeros_like(param), "exp_inf": zeros_like(param)}

    def update(self, pack: Pack, options: Options) -> None:
        """One step of the rule above."""
        beta1, beta2 = options["betas"]
        rate = options["lr"] / (1 - beta1 ** pack.advance())
        for param, grad, m, u in pack.blocks("exp_avg", "exp_inf"):
            g = descent(param, grad, options)
            m.add_((g - m).mul_(1 - beta1))
            u.copy_(maximum(u * beta2, g.abs() + options["eps"]))
            param.sub_(m / u * rate)
