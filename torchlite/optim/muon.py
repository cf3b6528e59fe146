"""Muon."""

from __future__ import annotations

import math
from typing import Any, Literal

from torchlite._tensor import Tensor
from torchlite.ops.creation import zeros_like
from torchlite.optim.optimizer import Optimizer
from torchlite.optim.options import Options
from torchlite.optim.pack import Pack


class Muon(Optimizer):
    """Momentum whose updates are made nearly orthogonal: all singular values near 1 (Jordan et al., 2024).

        B ← μ B + (1 - μ) ∇θ
        O = orthogonalized((1 - μ) ∇θ + μ B)                   (without nesterov of B)
        θ ← θ - lr · weight_decay · θ - lr · f(shape) · O

    with f = √max(1, rows / columns) ("original") or 0.2 √max(rows, columns) ("match_rms_adamw").

    Args:
        params: matrices. Biases, embeddings and heads are better left to another optimizer.
        lr: learning rate.
        weight_decay: how much of a parameter a learning rate of 1 would take away.
        momentum: μ, share of the mean gradient that is kept.
        nesterov: look ahead along the momentum.
        ns_coefficients, eps, ns_steps: as in `orthogonalized`.
        adjust_lr_fn: "original" (also for None) or "match_rms_adamw", which suits learning rates tuned for AdamW.

    Raises:
        ValueError: for parameters that are no matrices.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: Literal["original", "match_rms_adamw"] | None = None,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError(f"Tensor lr must be 1-element; Muon got one of shape {list(lr.shape)}")
        for name, value in (("Learning rate", lr), ("momentum", momentum), ("weight decay", weight_decay)):
            if not value >= 0:
                raise ValueError(f"{name} should be >= 0 but is: {value}")
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(
                f"Adjust learning rate function {adjust_lr_fn} is not supported; choose 'original' or 'match_rms_adamw'"
            )
        defaults = {
            "lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov,
            "ns_coefficients": ns_coefficients, "eps": eps, "ns_steps": ns_steps, "adjust_lr_fn": adjust_lr_fn,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _check_param(self, param: Any) -> None:
        super()._check_param(param)
        if param.ndim != 2:
            raise ValueError(f"Muon only supports 2D parameters whereas we found a parameter with size: {param.size()}")

    def init(self, param: Tensor, group: Options) -> dict[str, Tensor]:  # noqa: ARG002 - there are no variants
        """A mean of nothing.

        Raises:
            RuntimeError: for a complex parameter.
        """
        if param.is_complex():
            raise RuntimeError("Muon does not support complex parameters")
        return {"momentum_buffer": zeros_like(param)}

    def update(self, pack: Pack, options: Options) -> None:
        """One step of the rule above."""
        lr, momentum = options["lr"], options["momentum"]
        for param, grad, b in pack.whole("momentum_buffer"):
            b.lerp_(grad, 1 - momentum)
            mean = grad.lerp(b, momentum) if options["nesterov"] else b
            update = orthogonalized(mean, options["ns_coefficients"], options["ns_steps"], options["eps"])
            rows, columns = param.shape
            if options["adjust_lr_fn"] == "match_rms_adamw":
                factor = 0.2 * math.sqrt(max(rows, columns))
            else:
                factor = math.sqrt(max(1, rows / columns))
            param.mul_(1 - lr * options["weight_decay"]).sub_(update.to(param.dtype) * (lr * factor))


def orthogonalized(g: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """A matrix with the singular vectors of ``g`` and singular values near 1, in the precision of bfloat16.

        X = g / max(|g|, eps), then ``steps`` times, with coefficients (a, b, c) and on the side where X has fewer rows:
        X ← a X + (b X Xᵀ + c (X Xᵀ)²) X

    Newton and Schulz' iteration of fifth order: it raises small singular values fast and lets them end between 0.5 and 1.5.

    Raises:
        ValueError: for 100 steps or more, and unless there are three coefficients.
    """
    if steps >= 100:
        raise ValueError(f"Number of steps must be less than 100 for computational efficiency, got {steps}")
    if len(coefficients) != 3:
        raise ValueError(f"Coefficients must be a tuple of exactly 3 values, got {len(coefficients)}")
    a, b, c = coefficients
    tall = g.shape[0] > g.shape[1]
    x = _rounded(g.t() if tall else g)
    x = _rounded(x / _rounded(x.norm()).clamp(min=eps))
    for _ in range(steps):
        gram = _rounded(x @ x.t())
        polynomial = _rounded(b * gram + c * (gram @ gram))
        x = _rounded(a * x + polynomial @ x)
    return x.t() if tall else x


def _rounded(x: Tensor) -> Tensor:
    """Numbers of bfloat16 that are calculated with in float32, as processors do: each result is rounded once."""
    return x.bfloat16().float()
