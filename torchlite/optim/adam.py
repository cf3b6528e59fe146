"""Adam and AdamW."""

from __future__ import annotations

from typing import Any, ClassVar

from torchlite._tensor import Tensor
from torchlite.ops.arithmetic import maximum
from torchlite.ops.creation import zeros_like
from torchlite.ops.mutation import inplace
from torchlite.optim.descent import descent
from torchlite.optim.optimizer import Optimizer
from torchlite.optim.options import BELOW_ONE, NOT_NEGATIVE, Interval, Options
from torchlite.optim.pack import Pack, counter

maximum_ = inplace(maximum)


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
        capturable: keep counters and tensors among the hyper-parameters as tensors, for a step that is replayed.
        differentiable: record the step for backward.
        foreach, fused: for PyTorch's sake; there is one way of updating.
        decoupled_weight_decay: as in `AdamW`.
    """

    ranges: ClassVar[dict[str, Interval]] = {
        "lr": NOT_NEGATIVE, "eps": NOT_NEGATIVE, "betas": BELOW_ONE, "weight_decay": NOT_NEGATIVE,
    }  # fmt: skip
    counters = ("step",)

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        if isinstance(betas[0], Tensor) != isinstance(betas[1], Tensor):
            raise ValueError(f"betas must be either both floats or both Tensors, got {betas}")
        for name, value in (("lr", lr), ("betas[0]", betas[0]), ("betas[1]", betas[1])):
            if isinstance(value, Tensor) and foreach and not capturable:
                raise ValueError(f"{name} as a Tensor is not supported for capturable=False and foreach=True")
            if isinstance(value, Tensor) and value.numel() != 1:
                raise ValueError(f"Tensor {name} must be 1-element")
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad,
            "maximize": maximize, "foreach": foreach, "capturable": capturable, "differentiable": differentiable,
            "fused": fused, "decoupled_weight_decay": decoupled_weight_decay,
        }  # fmt: skip
        super().__init__(params, defaults)

    def init(self, param: Tensor, group: Options) -> dict[str, Tensor]:
        """Averages of nothing."""
        names = ["exp_avg", "exp_avg_sq", "max_exp_avg_sq"][: 3 if group["amsgrad"] else 2]
        return {"step": counter(param, group), **{name: zeros_like(param) for name in names}}

    def update(self, pack: Pack, options: Options) -> None:
        """The rule with its constants drawn together, so that it takes fewer passes over the numbers."""
        beta1, beta2 = options["betas"]
        t = pack.advance()
        # lr · (m / b₁) / (√(v / b₂) + eps)  =  (lr · √b₂ / b₁) · m / (√v + √b₂ · eps)  with bᵢ = 1 - βᵢᵗ
        root2 = (1 - beta2**t) ** 0.5
        rate = options["lr"] * root2 / (1 - beta1**t)
        averages = ["exp_avg", "exp_avg_sq", "max_exp_avg_sq"][: 3 if options["amsgrad"] else 2]
        decay, decoupled = options["weight_decay"], options["decoupled_weight_decay"]
        if pack.in_one_pass(
            "optimizers.adam", *averages, maximize=options["maximize"], decay=0 if decoupled else decay,
            kept=1 - options["lr"] * decay if decoupled else 1, rate=rate, beta1=beta1, beta2=beta2,
            eps=root2 * options["eps"],
        ):  # fmt: skip
            return
        for param, grad, m, v, *largest in pack.blocks(*averages):
            g = descent(param, grad, options)
            m.add_((g - m).mul_(1 - beta1))
            v.mul_(beta2).add_((g * g).mul_(1 - beta2))
            root = (maximum_(largest[0], v) if largest else v).sqrt() + root2 * options["eps"]
            param.sub_(m / root * rate)


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameters by themselves, not through the gradient (Loshchilov & Hutter, 2019).

        θ ← θ - lr · weight_decay · θ, then Adam's step without it

    Args:
        params, lr, betas, eps, amsgrad, maximize, foreach, capturable, differentiable, fused: as in `Adam`.
        weight_decay: how much of a parameter a learning rate of 1 would take away.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, foreach=foreach, capturable=capturable,
            differentiable=differentiable, fused=fused, decoupled_weight_decay=True,
        )  # fmt: skip

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True
