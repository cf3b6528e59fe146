"""Adam and AdamW."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from torchlite._tensor import Tensor
from torchlite.ops.creation import tensor, zeros_like
from torchlite.optim.optimizer import Optimizer, cache_blocks


class Adam(Optimizer):
    """Steps by the ratio of the gradient's running mean and running root mean square (Kingma & Ba, 2015).

        g ← ∇θ + weight_decay · θ
        m ← β₁ m + (1 - β₁) g                v ← β₂ v + (1 - β₂) g²
        θ ← θ - lr · (m / (1 - β₁ᵗ)) / (√(v / (1 - β₂ᵗ)) + eps)

    Args:
        params: what to optimize.
        lr: learning rate.
        betas: (β₁, β₂).
        eps: keeps the denominator from 0.
        weight_decay: L2 penalty.
        amsgrad: take the largest v so far (Reddi et al., 2018).
        maximize: climb instead.
        decoupled_weight_decay: as in `AdamW`.
    """

    ranges: ClassVar[dict[str, tuple[float, float]]] = {
        "lr": (0, math.inf), "eps": (0, math.inf), "weight_decay": (0, math.inf), "betas": (0, 1),
    }  # fmt: skip

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad,
            "maximize": maximize, "decoupled_weight_decay": decoupled_weight_decay,
        }  # fmt: skip
        super().__init__(params, defaults)

    def update(self, param: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """One step of the rule above."""
        if not state:
            state["step"] = tensor(0.0)
            state["exp_avg"] = zeros_like(param)
            state["exp_avg_sq"] = zeros_like(param)
            if group["amsgrad"]:
                state["max_exp_avg_sq"] = zeros_like(param)
        state["step"].add_(1)
        step = state["step"].item()
        averages = ["exp_avg", "exp_avg_sq", "max_exp_avg_sq"][: 3 if group["amsgrad"] else 2]
        for block in cache_blocks(param, grad, *(state[name] for name in averages)):
            _update(*block, group=group, step=step)


def _update(
    param: Tensor,
    grad: Tensor,
    m: Tensor,
    v: Tensor,
    largest: Tensor | None = None,
    *,
    group: dict[str, Any],
    step: float,
) -> None:
    """The rule with its constants drawn together, so that it takes fewer passes over the numbers."""
    g = -grad if group["maximize"] else grad
    lr, (beta1, beta2) = group["lr"], group["betas"]
    if group["weight_decay"]:
        if group["decoupled_weight_decay"]:
            param.mul_(1 - lr * group["weight_decay"])
        else:
            g = g + param.detach() * group["weight_decay"]
    m.add_((g - m).mul_(1 - beta1))
    v.mul_(beta2).add_((g * g).mul_(1 - beta2))
    if largest is not None:
        v = largest.copy_(largest.maximum(v))
    # lr · (m / b₁) / (√(v / b₂) + eps)  =  (lr · √b₂ / b₁) · m / (√v + √b₂ · eps)  with bᵢ = 1 - βᵢᵗ
    correction1, root2 = 1 - beta1**step, math.sqrt(1 - beta2**step)
    root = v.sqrt().add_(root2 * group["eps"])
    param.sub_((m / root).mul_(lr * root2 / correction1))


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameters by themselves, not through the gradient (Loshchilov & Hutter, 2019).

        θ ← θ - lr · weight_decay · θ, then Adam's step without it

    Args:
        params, lr, betas, eps, amsgrad, maximize: as in `Adam`.
        weight_decay: how much of a parameter a learning rate of 1 would take away.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True)
