"""Adafactor."""

from __future__ import annotations

import math
from typing import Any

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.ops.creation import zeros_like
from torchlite.optim.optimizer import Optimizer
from torchlite.optim.options import Options
from torchlite.optim.pack import Pack, at_least, counter, deciding
from torchlite.tracing import active


class Adafactor(Optimizer):
    """Adam with means of the squared gradient over rows and columns in the place of each number's own (Shazeer & Stern, 2018).

        G ← ∇θ                                      β̂ = 1 - t^beta2_decay
        α = max(ε₂, RMS(θ)) · min(lr, 1 / √t)
        θ ← θ - lr · weight_decay · θ
        R ← β̂ R + (1 - β̂) mean_columns(G²)          C ← β̂ C + (1 - β̂) mean_rows(G²)
        V = R C / max(mean(R), ε₁)                   (a vector: V ← β̂ V + (1 - β̂) G²)
        U = G / max(√V, ε₁)
        θ ← θ - α · U / max(1, RMS(U) / d)

    Args:
        params: what to optimize; rows and columns are the last two dimensions.
        lr: limit of the learning rate.
        beta2_decay: how fast the averages become long.
        eps: (ε₁, ε₂); None for the relative precision of the parameter's dtype.
        d: limit of the root mean square of an update.
        weight_decay: how much of a parameter a learning rate of 1 would take away.
        foreach, maximize: as in `Adam`.
    """

    counters = ("step",)

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError(f"Tensor lr must be 1-element; Adafactor got one of shape {list(lr.shape)}")
        for name, value in (("Learning rate", lr), ("epsilon1", eps[0]), ("epsilon2", eps[1])):
            if value is not None and not value >= 0:
                raise ValueError(f"{name} should be >= 0 but is: {value}")
        if not beta2_decay <= 0:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        if not d >= 1:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        if not weight_decay >= 0:
            raise ValueError(f"weight_decay should be >= 0 but is: {weight_decay}")
        defaults = {
            "lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d, "weight_decay": weight_decay,
            "foreach": foreach, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults)

    def init(self, param: Tensor, group: Options) -> dict[str, Tensor]:
        """Means of nothing.

        Raises:
            RuntimeError: for a complex parameter.
        """
        if param.is_complex():
            raise RuntimeError("Adafactor does not support complex parameters")
        state = {"step": counter(param, group)}
        if param.ndim < 2:
            return {**state, "variance": zeros_like(param)}
        *batch, rows, columns = param.shape
        return {
            **state,
            "row_var": param.new_zeros([*batch, rows, 1]),
            "col_var": param.new_zeros([*batch, 1, columns]),
        }

    def update(self, pack: Pack, options: Options) -> None:
        """One step of the rule above."""
        lr, decay = options["lr"], options["weight_decay"]
        eps1, eps2 = options["eps"]
        t = pack.advance()
        share = t ** options["beta2_decay"]
        rate = -at_least(deciding(-(t**-0.5)), -lr)  # min(lr, 1 / √t)
        for param, grad, row, column, v in pack.whole("row_var", "col_var", "variance"):
            g = -grad if options["maximize"] else grad
            smallest = dtypes.finfo(param.dtype).eps if eps1 is None else eps1
            alpha = at_least(_rms(param), eps2) * rate
            if decay:
                param.mul_(1 - lr * decay)
            square = g * g
            if v is not None:
                root = v.lerp_(square, share).sqrt()
            else:
                row.lerp_(square.mean(-1, keepdim=True), share)
                column.lerp_(square.mean(-2, keepdim=True), share)
                root = (row / row.mean(-2, keepdim=True).clamp(min=smallest)).sqrt() * column.sqrt()
            u = g / root.clamp(min=smallest)
            param.sub_(u * (alpha / at_least(_rms(u) / options["d"], 1.0)))


def _rms(x: Tensor) -> Any:
    """The root of the mean square, a number or, while a step is captured, a tensor."""
    norm = x.norm()
    return (norm.item() if active.tracer is None else norm.double()) / math.sqrt(x.numel())
