"""Limiting gradients."""

from __future__ import annotations

import types
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from torchlite._tensor import Tensor, wrap
from torchlite.autograd.grad_mode import no_grad
from torchlite.backends.native import LARGE, kernel
from torchlite.compiler.rows import each, of_each
from torchlite.ops.creation import tensor
from torchlite.ops.joining import stack
from torchlite.ops.norms import vector_norm_of
from torchlite.tracing import valid


@no_grad()
def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,  # noqa: ARG001 - PyTorch's choice of an implementation
) -> Tensor:
    """The p-norm of all elements of ``tensors`` together, on the device of the first.

    Raises:
        RuntimeError: when it is not finite and ``error_if_nonfinite``.
    """
    listed = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    if not listed:
        return tensor(0.0)
    p = float(norm_type)
    total = _norm_in_one_pass(listed) if p == 2.0 else None
    if total is None:
        total = _norm_of_norms(listed, p)
    if error_if_nonfinite and not valid(total.isfinite()):
        raise RuntimeError(
            f"The total norm of order {p} for gradients from `parameters` is non-finite, so it cannot be clipped. "
            "To disable this error and scale the gradients by the non-finite norm anyway, set `error_if_nonfinite=False`"
        )
    return total


@no_grad()
def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    total_norm: Tensor,
    foreach: bool | None = None,  # noqa: ARG001 - PyTorch's choice of an implementation
) -> None:
    """Scale all gradients by min(1, max_norm / (total_norm + 1e-6))."""
    # A Python number is not converted: one that changes from step to step is then an input of a compiled step.
    limit = float(max_norm) if isinstance(max_norm, (Tensor, np.generic)) else max_norm
    factor = (limit / (total_norm + 1e-6)).clamp(max=1.0)
    gradients = _gradients(parameters)
    if not _scaled_in_one_pass(gradients, factor):
        for (g,) in each([[g] for g in gradients]):
            g.mul_(factor.to(device=g.device, dtype=g.dtype))


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale all gradients by min(1, max_norm / (norm + 1e-6)) and return the norm before (Pascanu et al., 2013).

    Raises:
        RuntimeError: when the norm is not finite and ``error_if_nonfinite``.
    """
    listed = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    if isinstance(parameters, types.GeneratorType) and not listed:
        warnings.warn("`parameters` is an empty generator, no gradient clipping will occur.", stacklevel=2)
    total = get_total_norm(_gradients(listed), norm_type, error_if_nonfinite, foreach)
    clip_grads_with_norm_(listed, max_norm, total, foreach)
    return total


def clip_grad_norm(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The old name of `clip_grad_norm_`; deprecated."""
    warnings.warn(
        "`torch.nn.utils.clip_grad_norm` is now deprecated in favor of `torch.nn.utils.clip_grad_norm_`.",
        FutureWarning,
        stacklevel=2,
    )
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


@no_grad()
def clip_grad_value_(
    parameters: Tensor | Iterable[Tensor],
    clip_value: float,
    foreach: bool | None = None,  # noqa: ARG001 - PyTorch's choice of an implementation
) -> None:
    """Limit every element of the gradients to ±clip_value."""
    limit = float(clip_value)
    for (g,) in each([[g] for g in _gradients(parameters)]):
        g.clamp_(-limit, limit)


def _norm_of_norms(tensors: Sequence[Tensor], p: float) -> Tensor:
    def norm(x: Tensor) -> Tensor:
        return vector_norm_of("get_total_norm", x, p, None, False)

    norms = of_each(norm, tensors)
    return norm(stack([norm(x).to(tensors[0].device) for x in tensors]) if norms is None else norms)


def _norm_in_one_pass(tensors: Sequence[Tensor]) -> Tensor | None:
    """The 2-norm by a kernel, None where there is none for these."""
    arrays = _large(tensors)
    fast = kernel("gradients.norm") if arrays else None
    norm = None if fast is None else fast(arrays)
    return None if norm is None else wrap(np.array(norm, np.float32))


def _scaled_in_one_pass(gradients: Sequence[Tensor], factor: Tensor) -> bool:
    """Whether a kernel has multiplied all numbers by ``factor``."""
    arrays = [] if any(g._node is not None for g in gradients) else _large(gradients)
    fast = kernel("gradients.scale") if arrays and type(factor._data) is np.ndarray else None
    if fast is None or not fast(arrays, factor.item()):
        return False
    for g in gradients:
        g._storage.written()
    return True


def _large(tensors: Sequence[Tensor]) -> list[Any]:
    """The arrays of tensors, where all are NumPy's and it is worth compiling a kernel for so many numbers."""
    arrays = [x._data for x in tensors]
    return arrays if set(map(type, arrays)) == {np.ndarray} and sum(a.size for a in arrays) >= LARGE else []


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    listed = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [p.grad for p in listed if p.grad is not None]
