"""Stochastic gradient descent."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from torchlite._tensor import Tensor
from torchlite.optim.optimizer import Optimizer


class SGD(Optimizer):
    """Gradient descent with momentum (Sutskever et al., 2013).

        g ← ∇θ + weight_decay · θ
        b ← momentum · b + (1 - dampening) · g        (b ← g at the first step)
        θ ← θ - lr · b                                 (nesterov: lr · (g + momentum · b))

    Args:
        params: what to optimize.
        lr: learning rate.
        momentum: share of the last update that is kept.
        dampening: share of the gradient that momentum leaves out.
        weight_decay: L2 penalty.
        nesterov: look ahead along the momentum.
        maximize: climb instead.
    """

    ranges: ClassVar[dict[str, tuple[float, float]]] = {
        "lr": (0, math.inf), "momentum": (0, math.inf), "weight_decay": (0, math.inf),
    }  # fmt: skip

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        defaults = {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
            "nesterov": nesterov, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults)

    def update(self, param: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """One step of the rule above."""
        g = -grad if group["maximize"] else grad
        if group["weight_decay"]:
            g = g + param.detach() * group["weight_decay"]
        momentum = group["momentum"]
        if momentum:
            buffer = state.get("momentum_buffer")
            if buffer is None:
                buffer = state["momentum_buffer"] = g.clone()
            else:
                buffer.mul_(momentum).add_(g, alpha=1 - group["dampening"])
            g = g + buffer * momentum if group["nesterov"] else buffer
        param.sub_(g * group["lr"])
