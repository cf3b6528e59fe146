"""NAdam."""

from __future__ import annotations

from typing import Any, ClassVar

from torchlite._tensor import Tensor
from torchlite.ops.creation import zeros_like
from torchlite.optim.descent import descent
from torchlite.optim.optimizer import Optimizer
from torchlite.optim.options import BELOW_ONE, NOT_NEGATIVE, Interval, Options
from torchlite.optim.pack import Pack, counter


class NAdam(Optimizer):
    """Adam with Nesterov's look ahead along the mean gradient (Dozat, 2016).

        g ← ∇θ + weight_decay · θ
        μₜ = β₁ (1 - 0.96^(t · momentum_decay) / 2)
        m ← β₁ m + (1 - β₁) g                v ← β₂ v + (1 - β₂) g²
        m̂ = (1 - μₜ) g / (1 - μ₁…μₜ) + μₜ₊₁ m / (1 - μ₁…μₜ₊₁)
        θ ← θ - lr · m̂ / (√(v / (1 - β₂ᵗ)) + eps)

    Args:
        params: what to optimize.
        lr: learning rate.
        betas: (β₁, β₂).
        eps: keeps the denominator from 0.
        weight_decay: L2 penalty; with ``decoupled_weight_decay`` as in `AdamW`.
        momentum_decay: how fast the momentum μ grows.
        maximize, capturable, differentiable, foreach: as in `Adam`.
    """

    ranges: ClassVar[dict[str, Interval]] = {
        "lr": NOT_NEGATIVE, "eps": NOT_NEGATIVE, "betas": BELOW_ONE, "weight_decay": NOT_NEGATIVE,
        "momentum_decay": NOT_NEGATIVE,
    }  # fmt: skip
    counters = ("step", "mu_product")

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize, "foreach": foreach,
            "capturable": capturable, "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def init(self, param: Tensor, group: Options) -> dict[str, Tensor]:
        """Averages of nothing."""
        return {
            "step": counter(param, group), "mu_product": counter(param, group, 1.0),
            "exp_avg": zeros_like(param), "exp_avg_sq": zeros_like(param),
        }  # fmt: skip

    def update(self, pack: Pack, options: Options) -> None:
        """One step of the rule above."""
        lr, (beta1, beta2) = options["lr"], options["betas"]
        t = pack.advance()
        mu, next_mu = (beta1 * (1 - 0.5 * 0.96 ** (s * options["momentum_decay"])) for s in (t, t + 1))
        pack["mu_product"] = pack["mu_product"] * mu
        product = pack["mu_product"]
        of_grad, of_mean = lr * (1 - mu) / (1 - product), lr * next_mu / (1 - product * next_mu)
        root2 = (1 - beta2**t) ** 0.5
        for param, grad, m, v in pack.blocks("exp_avg", "exp_avg_sq"):
            g = descent(param, grad, options)
            m.add_((g - m).mul_(1 - beta1))
            v.mul_(beta2).add_((g * g).mul_(1 - beta2))
            param.sub_((g * of_grad + m * of_mean) / (v.sqrt() / root2 + options["eps"]))
