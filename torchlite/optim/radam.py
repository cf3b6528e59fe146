"""RAdam."""

from __future__ import annotations

from typing import Any, ClassVar

from torchlite._tensor import Tensor
from torchlite.ops.arithmetic import where
from torchlite.ops.creation import zeros_like
from torchlite.optim.descent import descent
from torchlite.optim.optimizer import Optimizer
from torchlite.optim.options import BELOW_ONE, NOT_NEGATIVE, Interval, Options
from torchlite.optim.pack import Pack, counter, deciding


class RAdam(Optimizer):
    """Adam that starts as momentum, until the variance of its root mean square can be trusted (Liu et al., 2020).

        g ← ∇θ + weight_decay · θ
        m ← β₁ m + (1 - β₁) g                v ← β₂ v + (1 - β₂) g²
        ρ∞ = 2 / (1 - β₂) - 1                ρ = ρ∞ - 2 t β₂ᵗ / (1 - β₂ᵗ)
        r = √((ρ - 4)(ρ - 2) ρ∞ / ((ρ∞ - 4)(ρ∞ - 2) ρ))
        θ ← θ - lr · m / (1 - β₁ᵗ) · r √(1 - β₂ᵗ) / (√v + eps)        where ρ > 5
        θ ← θ - lr · m / (1 - β₁ᵗ)                                     elsewhere

    Args:
        params: what to optimize.
        lr: learning rate.
        betas: (β₁, β₂).
        eps: keeps the denominator from 0.
        weight_decay: L2 penalty; with ``decoupled_weight_decay`` as in `AdamW`.
        maximize, capturable, differentiable, foreach: as in `Adam`.
    """

    ranges: ClassVar[dict[str, Interval]] = {
        "lr": NOT_NEGATIVE, "eps": NOT_NEGATIVE, "betas": BELOW_ONE, "weight_decay": NOT_NEGATIVE,
    }  # fmt: skip
    counters = ("step",)

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
            "foreach": foreach, "capturable": capturable, "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def init(self, param: Tensor, group: Options) -> dict[str, Tensor]:
        """Averages of nothing."""
        return {"step": counter(param, group), "exp_avg": zeros_like(param), "exp_avg_sq": zeros_like(param)}

    def update(self, pack: Pack, options: Options) -> None:
        """One step of the rule above."""
        beta1, beta2 = options["betas"]
        t = pack.advance()
        rate = options["lr"] / (1 - beta1**t)
        rho_inf = 2 / (1 - beta2) - 1
        rho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
        trusted = deciding(rho) > 5
        rectified = (
            abs((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)) * (1 - beta2**t)
        ) ** 0.5
        for param, grad, m, v in pack.blocks("exp_avg", "exp_avg_sq"):
            g = descent(param, grad, options)
            m.add_((g - m).mul_(1 - beta1))
            v.mul_(beta2).add_((g * g).mul_(1 - beta2))
            if isinstance(trusted, Tensor):
                param.sub_(m * rate * where(trusted, rectified / (v.sqrt() + options["eps"]), 1.0))
            elif trusted:
                param.sub_(m / (v.sqrt() + options["eps"]) * (rate * rectified))
            else:
                param.sub_(m * rate)
