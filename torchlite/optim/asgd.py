"""ASGD."""

from __future__ import annotations

from typing import Any, ClassVar

from torchlite._tensor import Tensor
from torchlite.ops.creation import zeros_like
from torchlite.optim.descent import descent
from torchlite.optim.optimizer import Optimizer
from torchlite.optim.options import NOT_NEGATIVE, Interval, Options
from torchlite.optim.pack import Pack, at_least, counter, deciding


class ASGD(Optimizer):
    """Gradient descent that also keeps the average of the parameters, ``state["ax"]`` (Polyak & Juditsky, 1992).

        g ← ∇θ + weight_decay · θ
        θ ← (1 - λ η) θ - η g
        x ← x + μ (θ - x)
        η ← lr / (1 + λ lr t)^α                μ ← 1 / max(1, t - t₀)

    Args:
        params: what to optimize.
        lr: learning rate, η of the first step.
        lambd: λ, the decay.
        alpha: α, how fast η falls.
        t0: t₀, the step from which on the parameters are averaged.
        weight_decay: L2 penalty.
        foreach, maximize, differentiable, capturable: as in `Adam`.
    """

    ranges: ClassVar[dict[str, Interval]] = {"lr": NOT_NEGATIVE, "weight_decay": NOT_NEGATIVE}
    counters = ("step", "eta", "mu")

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def init(self, param: Tensor, group: Options) -> dict[str, Tensor]:
        """No step made, no average."""
        return {
            "step": counter(param, group), "eta": counter(param, group, group["lr"]),
            "mu": counter(param, group, 1.0), "ax": zeros_like(param),
        }  # fmt: skip

    def update(self, pack: Pack, options: Options) -> None:
        """One step of the rule above."""
        lr, lambd = options["lr"], options["lambd"]
        t, eta, mu = pack.advance(), pack["eta"], deciding(pack["mu"])
        for param, grad, average in pack.blocks("ax"):
            g = descent(param, grad, options)
            param.mul_(1 - lambd * eta).sub_(g * eta)
            if isinstance(mu, Tensor) or mu < 1:
                average.add_((param - average).mul_(mu))
            else:
                average.copy_(param)
        pack["eta"] = lr / (1 + lambd * lr * t) ** options["alpha"]
        waited = deciding(t - options["t0"])
        pack["mu"] = 1 / at_least(waited, 1)
