"""Stochastic gradient descent."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from torchlite._tensor import Tensor
from torchlite.ops.creation import empty_like
from torchlite.optim.optimizer import Optimizer, cache_blocks


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
        first = state.get("momentum_buffer") is None
        if group["momentum"] and first:
            state["momentum_buffer"] = empty_like(param)
        for block in cache_blocks(param, grad, *([state["momentum_buffer"]] if group["momentum"] else [])):
            _update(*block, group=group, first=first)


def _update(param: Tensor, grad: Tensor, buffer: Tensor | None = None, *, group: dict[str, Any], first: bool) -> None:
    g = -grad if group["maximize"] else grad
    if group["weight_decay"]:
        g = g + param.detach() * group["weight_decay"]
    if buffer is not None:
        if first:
            buffer.copy_(g)
        else:
            buffer.mul_(group["momentum"]).add_(g, alpha=1 - group["dampening"])
        g = g + buffer * group["momentum"] if group["nesterov"] else buffer
    param.sub_(g * group["lr"])
