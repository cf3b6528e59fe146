"""What families share: broadcasting, probabilities and log-odds, cached properties, triangles as vectors.

The names are those of PyTorch's ``torch.distributions.utils``, which code of users imports.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from numbers import Number
from typing import Any

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import enable_grad
from torchlite.composites.assembly import broadcast_tensors
from torchlite.dtypes import finfo
from torchlite.ops.creation import arange, tensor
from torchlite.ops.softmax import softmax

euler_constant = 0.57721566490153286060
LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


def broadcast_all(*values: Any) -> tuple[Tensor, ...]:
    """Numbers and tensors as tensors of one shape; numbers take the dtype and device of the first tensor.

    Raises:
        ValueError: for a value that is neither.
    """
    if not all(isinstance(v, (Tensor, Number)) for v in values):
        raise ValueError(f"Input arguments must all be numbers or tensors, got {[type(v).__name__ for v in values]}")
    like = next((v for v in values if isinstance(v, Tensor)), None)
    dtype, device = (dtypes.get_default_dtype(), None) if like is None else (like.dtype, like.device)
    return broadcast_tensors(*(v if isinstance(v, Tensor) else tensor(v, dtype=dtype, device=device) for v in values))


def sum_rightmost(x: Tensor, n: int) -> Tensor:
    """Sum over the last ``n`` dimensions."""
    return x.sum(tuple(range(-n, 0))) if n else x


def clamp_probs(probs: Tensor) -> Tensor:
    """Probabilities held away from 0 and 1 by the precision of their dtype."""
    eps = finfo(probs.dtype).eps
    return probs.clamp(min=eps, max=1 - eps)


def probs_to_logits(probs: Tensor, is_binary: bool = False) -> Tensor:
    """Log-odds of single probabilities, or logarithms of probabilities that sum to 1 over the last dimension."""
    clamped = clamp_probs(probs)
    return clamped.log() - (-clamped).log1p() if is_binary else clamped.log()


def logits_to_probs(logits: Tensor, is_binary: bool = False) -> Tensor:
    """The probabilities of log-odds, or of unnormalised logarithms over the last dimension."""
    return logits.sigmoid() if is_binary else softmax(logits, -1)


class lazy_property:
    """A property that is computed on first use, with its history even where gradients are off, and then kept."""

    def __init__(self, wrapped: Callable[[Any], Any]) -> None:
        self.wrapped = wrapped
        functools.update_wrapper(self, wrapped)  # type: ignore[arg-type]

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        with enable_grad():
            value = self.wrapped(instance)
        setattr(instance, self.wrapped.__name__, value)
        return value


def tril_matrix_to_vec(mat: Tensor, diag: int = 0) -> Tensor:
    """The elements on and below diagonal ``diag`` of square matrices, row by row.

    Shape: (..., n, n) to (..., number of those elements).

    Raises:
        ValueError: for a diagonal that the matrices do not have.
    """
    n = mat.shape[-1]
    if not -n <= diag < n:
        raise ValueError(f"diag ({diag}) provided is outside [{-n}, {n - 1}].")
    return mat[(..., *_triangle(n, diag, mat))]


def vec_to_tril_matrix(vec: Tensor, diag: int = 0) -> Tensor:
    """The square matrices with the given elements on and below diagonal ``diag``, zeros above.

    Raises:
        ValueError: for a number of elements that no square matrix has there.
    """
    count = vec.shape[-1]
    n = round((-(1 + 2 * diag) + math.sqrt((1 + 2 * diag) ** 2 + 8 * count + 4 * abs(diag) * (diag + 1))) / 2)
    rows, columns = _triangle(n, diag, vec)
    if rows.numel() != count:
        raise ValueError(
            f"The size of last dimension is {count} which cannot be expressed as the lower triangular part of a "
            "square D x D matrix."
        )
    flat = vec.new_zeros((*vec.shape[:-1], n * n)).index_copy(-1, rows * n + columns, vec)
    return flat.reshape((*vec.shape[:-1], n, n))


def _triangle(n: int, diag: int, like: Tensor) -> Any:
    places = arange(n, device=like.device)
    return (places <= places.unsqueeze(-1) + diag).nonzero().unbind(1)
