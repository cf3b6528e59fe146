"""Distances and similarities of vectors."""

from __future__ import annotations

from typing import Any

from torchlite._tensor import Tensor
from torchlite.autocasting import autocasts
from torchlite.autograd.grad_mode import no_grad
from torchlite.composites.assembly import broadcast_tensors
from torchlite.composites.diagonals import triu_indices
from torchlite.composites.norms import norm
from torchlite.ir import FLOAT32_ON_CUDA
from torchlite.ops.arithmetic import clamp
from torchlite.ops.destination import stored


def at_least(x: Tensor, least: float) -> Tensor:
    """``x`` with smaller numbers raised to ``least``, but with a gradient as if they had not been."""
    raised = x.clone()
    with no_grad():
        raised.clamp_(min=least)
    return raised


@autocasts(FLOAT32_ON_CUDA)
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x₁ · x₂ / (max(‖x₁‖, eps) max(‖x₂‖, eps)) along ``dim`` of tensors that are broadcast."""
    if not x1.is_floating_point() or not x2.is_floating_point():
        raise RuntimeError(f"expected common dtype to be floating point, got {x1.dtype} and {x2.dtype}")
    x1, x2 = broadcast_tensors(x1, x2)
    one, other = (x / at_least(norm(x, 2, dim, keepdim=True), eps) for x in (x1, x2))
    return (one * other).sum(dim)


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """‖x₁ - x₂ + eps‖ₚ along the last dimension of tensors that are broadcast."""
    return norm(x1 - x2 + eps, p, -1, keepdim)


@autocasts(FLOAT32_ON_CUDA)
def pdist(input: Tensor, p: float = 2) -> Tensor:
    """The p-norm distances between all pairs of rows: the part of ``cdist`` above the diagonal.

    Shape:
        - input: (N, M), result: (N(N - 1) / 2,)

    Raises:
        RuntimeError: for an input that is no matrix, and a negative ``p``.
    """
    if input.ndim != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.ndim}D")
    if p < 0:
        raise RuntimeError("pdist only supports non-negative p values")
    first, second = triu_indices(input.shape[0], input.shape[0], 1, device=input.device).unbind(0)
    return norm(input[first] - input[second], p, -1)


def normalize(input: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: Tensor | None = None) -> Tensor:
    """X / max(‖x‖ₚ, eps) along ``dim``."""
    if out is not None:
        return stored("normalize", normalize, (input, p, dim, eps), {}, out)
    return input / clamp(norm(input, p, dim, keepdim=True), min=eps)
