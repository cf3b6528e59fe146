"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any, ClassVar

from torchlite._tensor import Tensor
from torchlite.ops.creation import zeros_like
from torchlite.optim.descent import descent
from torchlite.optim.optimizer import Optimizer
from torchlite.optim.options import NOT_NEGATIVE, Interval, Options
from torchlite.optim.pack import Pack


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
        differentiable: record the step for backward.
        foreach, fused: for PyTorch's sake; there is one way of updating.
    """

    ranges: ClassVar[dict[str, Interval]] = dict.fromkeys(("lr", "momentum", "weight_decay"), NOT_NEGATIVE)

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float | Tensor = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay, "nesterov": nesterov,
            "maximize": maximize, "foreach": foreach, "differentiable": differentiable, "fused": fused,
        }  # fmt: skip
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        super().__init__(params, defaults)

    def update(self, pack: Pack, options: Options) -> None:
        """One step of the rule above."""
        lr, momentum = options["lr"], options["momentum"]
        first = "momentum_buffer" not in pack
        if momentum and first:
            for param, state in zip(pack.params, pack.states, strict=True):
                state["momentum_buffer"] = zeros_like(param)
        names = ["momentum_buffer"] if momentum else []
        if pack.in_one_pass(
            "optimizers.sgd", *names, maximize=options["maximize"], decay=options["weight_decay"], rate=lr,
            momentum=momentum, dampening=options["dampening"], first=first, nesterov=options["nesterov"],
        ):  # fmt: skip
            return
        for param, grad, *buffers in pack.blocks(*names):
            g = descent(param, grad, options)
            for b in buffers:
                if first:
                    b.copy_(g)
                else:
                    b.mul_(momentum).add_(g, alpha=1 - options["dampening"])
                g = g + b * momentum if options["nesterov"] else b
            param.sub_(g * lr)
