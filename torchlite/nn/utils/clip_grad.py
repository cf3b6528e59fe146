"""Limiting gradients."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import no_grad
from torchlite.ops.contraction import dot
from torchlite.ops.creation import tensor
from torchlite.ops.joining import stack


def get_total_norm(tensors: Iterable[Tensor], norm_type: float = 2.0, error_if_nonfinite: bool = False) -> Tensor:
    """The p-norm of all elements of ``tensors`` together.

    Raises:
        RuntimeError: when it is not finite and ``error_if_nonfinite``.
    """
    listed = list(tensors)
    if not listed:
        return tensor(0.0)
    if norm_type == math.inf:
        total: Tensor = stack([g.abs().amax() for g in listed]).amax()
    elif norm_type == 2.0:
        total = stack([dot(flat, flat) for flat in (g.reshape(-1) for g in listed)]).sum().sqrt()
    else:
        total = stack([(g.abs() ** norm_type).sum() for g in listed]).sum() ** (1.0 / norm_type)
    if error_if_nonfinite and not bool(total.isfinite()):
        raise RuntimeError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it cannot be clipped. "
            "To disable this error and scale the gradients by the non-finite norm anyway, set `error_if_nonfinite=False`"
        )
    return total


@no_grad()
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients by min(1, max_norm / (norm + 1e-6)) and return the norm before (Pascanu et al., 2013)."""
    gradients = _gradients(parameters)
    total = get_total_norm(gradients, norm_type, error_if_nonfinite)
    factor = (max_norm / (total + 1e-6)).clamp(max=1.0)
    for g in gradients:
        g.mul_(factor.to(g.dtype))
    return total


@no_grad()
def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Limit every element of the gradients to ±clip_value."""
    for g in _gradients(parameters):
        g.clamp_(-clip_value, clip_value)


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    listed = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [p.grad for p in listed if p.grad is not None]
