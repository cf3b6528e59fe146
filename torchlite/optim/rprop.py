"""Rprop."""

from __future__ import annotations

from typing import Any, ClassVar

from torchlite._tensor import Tensor
from torchlite.ops.arithmetic import where
from torchlite.ops.creation import full_like, zeros_like
from torchlite.optim.optimizer import Optimizer
from torchlite.optim.options import NOT_NEGATIVE, Interval, Options
from torchlite.optim.pack import Pack, counter


class Rprop(Optimizer):
    """Steps by the sign of the gradient alone, longer while it stays and shorter when it turns (Riedmiller & Braun, 1993).

        g ← ∇θ
        η ← clamp(η · η⁺, η_min, η_max)            where g · g' > 0, with the gradient g' of the step before
        η ← clamp(η · η⁻, η_min, η_max), g ← 0     where g · g' < 0
        θ ← θ - η · sign(g)

    Args:
        params: what to optimize.
        lr: length η of the first step.
        etas: (η⁻, η⁺).
        step_sizes: (η_min, η_max).
        capturable, foreach, maximize, differentiable: as in `Adam`.

    Raises:
        ValueError: unless 0 < η⁻ < 1 < η⁺.
    """

    ranges: ClassVar[dict[str, Interval]] = {"lr": NOT_NEGATIVE}
    counters = ("step",)

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        if not 0 < etas[0] < 1 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]} (Rprop expects 0 < etas[0] < 1 < etas[1])")
        defaults = {
            "lr": lr, "etas": etas, "step_sizes": step_sizes, "foreach": foreach, "maximize": maximize,
            "differentiable": differentiable, "capturable": capturable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def init(self, param: Tensor, group: Options) -> dict[str, Tensor]:
        """No gradient before, and the first step size everywhere."""
        size = full_like(param, 1 + 1j if param.is_complex() else 1) * group["lr"]
        return {"step": counter(param, group), "prev": zeros_like(param), "step_size": size}

    def update(self, pack: Pack, options: Options) -> None:
        """One step of the rule above."""
        shrink, grow = options["etas"]
        pack.advance()
        for param, grad, before, size in pack.blocks("prev", "step_size"):
            g = -grad if options["maximize"] else grad
            turn = g.detach() * before.detach()
            changed = where(turn > 0, size * grow, where(turn < 0, size * shrink, size))
            size.copy_(changed.clamp(*options["step_sizes"]))
            g = where(turn < 0, 0.0, g)
            param.sub_(g.sign() * size)
            before.copy_(g)
