"""RMSprop."""

from __future__ import annotations

from typing import Any, ClassVar

from torchlite._tensor import Tensor
from torchlite.ops.creation import zeros_like
from torchlite.optim.descent import descent
from torchlite.optim.optimizer import Optimizer
from torchlite.optim.options import NOT_NEGATIVE, Interval, Options
from torchlite.optim.pack import Pack, counter


class RMSprop(Optimizer):
    """Steps by the ratio of the gradient and its running root mean square (Hinton, 2012; centered: Graves, 2013).

        g ← ∇θ + weight_decay · θ
        v ← α v + (1 - α) g²
        a ← α a + (1 - α) g                       (centered; else a = 0)
        d = g / (√(v - a²) + eps)
        b ← momentum · b + d                      (without momentum b = d)
        θ ← θ - lr · b

    Args:
        params: what to optimize.
        lr: learning rate.
        alpha: share of the averages that is kept.
        eps: keeps the denominator from 0.
        weight_decay: L2 penalty.
        momentum: share of the last update that is kept.
        centered: divide by the standard deviation instead.
        capturable, maximize, differentiable, foreach: as in `Adam`.
    """

    ranges: ClassVar[dict[str, Interval]] = dict.fromkeys(
        ("lr", "eps", "momentum", "weight_decay", "alpha"), NOT_NEGATIVE
    )
    counters = ("step",)

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
            "weight_decay": weight_decay, "capturable": capturable, "foreach": foreach, "maximize": maximize,
            "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def init(self, param: Tensor, group: Options) -> dict[str, Tensor]:
        """Averages of nothing."""
        return {"step": counter(param, group), **{name: zeros_like(param) for name in _buffers(group)}}

    def update(self, pack: Pack, options: Options) -> None:
        """One step of the rule above."""
        alpha, momentum = options["alpha"], options["momentum"]
        names = _buffers(options)
        pack.advance()
        for param, grad, *buffers in pack.blocks(*names):
            state = dict(zip(names, buffers, strict=True))
            g, v = descent(param, grad, options), state["square_avg"]
            v.mul_(alpha).add_((g * g).mul_(1 - alpha))
            if options["centered"]:
                a = state["grad_avg"]
                a.add_((g - a).mul_(1 - alpha))
                v = v - a * a
            d = g / (v.sqrt() + options["eps"])
            if momentum:
                d = state["momentum_buffer"].mul_(momentum).add_(d)
            param.sub_(d * options["lr"])


def _buffers(options: Options) -> list[str]:
    return [
        "square_avg",
        *(["momentum_buffer"] if options["momentum"] else []),
        *(["grad_avg"] if options["centered"] else []),
    ]
