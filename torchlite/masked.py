"""Reductions and normalizations over the elements that a mask lets through: ``torchlite.masked.mean(x, 1, mask=m)``.

Every function takes ``mask``, a bool tensor that broadcasts to ``input``; where it is False an element does not count,
as if its place were empty. A result of nothing is the identity of the operation (0 for sums, NaN for means), and its
dtype is the input's unless ``dtype`` names another; sums and products of integers are int64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.composites import statistics
from torchlite.ops import floating, gathering, products, reduction, scan
from torchlite.ops import softmax as normalization
from torchlite.ops.arithmetic import maximum, where
from torchlite.ops.construct import dims_of
from torchlite.tracing import valid

Dim = int | tuple[int, ...] | None


def _broadcast_mask(input: Tensor, mask: Tensor) -> Tensor:
    if mask.ndim > input.ndim:
        raise IndexError(
            "_input_mask expected broadcastable mask (got mask dimensionality higher than of the input): "
            f"{list(mask.shape)} for {list(input.shape)}"
        )
    return mask.to(dtypes.bool_).expand(tuple(input.shape))


def _filled(input: Tensor, mask: Tensor | None, value: Any) -> Tensor:
    """``input`` with the identity of an operation where ``mask`` is False."""
    if mask is None:
        return input
    return where(_broadcast_mask(input, mask), input, input.new_full((), value))


def _dims(input: Tensor, dim: Any) -> tuple[int, ...]:
    """All dimensions for None and for (), where PyTorch's masked functions have no other meaning for it."""
    return dims_of("masked", dim, input.ndim)


def _counted(input: Tensor) -> dtypes.dtype:
    """The dtype of a sum or product."""
    return dtypes.int64 if dtypes.category(input.dtype) < 2 else input.dtype


def sum(
    input: Tensor,
    dim: Dim = None,
    *,
    keepdim: bool | None = False,
    dtype: dtypes.dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Σ of the elements; 0 of none."""
    return _filled(input, mask, 0).sum(_dims(input, dim), bool(keepdim), dtype=dtype or _counted(input))


def prod(
    input: Tensor,
    dim: Dim = None,
    *,
    keepdim: bool | None = False,
    dtype: dtypes.dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Π of the elements; 1 of none."""
    out = _filled(input, mask, 1).to(dtype or _counted(input))
    for d in sorted(_dims(input, dim), reverse=True):
        out = products.prod(out, d, bool(keepdim))
    return out


def cumsum(input: Tensor, dim: int, *, dtype: dtypes.dtype | None = None, mask: Tensor | None = None) -> Tensor:
    """Running sums of the elements."""
    wanted = dtype or input.dtype
    return scan.cumsum(_filled(input, mask, 0), dim, dtype=wanted).to(wanted)


def cumprod(input: Tensor, dim: int, *, dtype: dtypes.dtype | None = None, mask: Tensor | None = None) -> Tensor:
    """Running products of the elements."""
    wanted = dtype or input.dtype
    return products.cumprod(_filled(input, mask, 1), dim, dtype=wanted).to(wanted)


def amax(
    input: Tensor,
    dim: Dim = None,
    *,
    keepdim: bool | None = False,
    dtype: dtypes.dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The largest element; the smallest number of the dtype of none."""
    lowest = gathering.neutral(input.dtype, "amax")
    return reduction.amax(_filled(input, mask, lowest), _dims(input, dim), bool(keepdim)).to(dtype or input.dtype)


def amin(
    input: Tensor,
    dim: Dim = None,
    *,
    keepdim: bool | None = False,
    dtype: dtypes.dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The smallest element; the largest number of the dtype of none."""
    highest = gathering.neutral(input.dtype, "amin")
    return reduction.amin(_filled(input, mask, highest), _dims(input, dim), bool(keepdim)).to(dtype or input.dtype)


def argmax(
    input: Tensor,
    dim: int | None = None,
    *,
    keepdim: bool | None = False,
    dtype: dtypes.dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Where the (first) largest element is, in the input's dtype."""
    filled = _filled(input, mask, gathering.neutral(input.dtype, "amax"))
    return reduction.argmax(filled, dim, bool(keepdim)).to(dtype or input.dtype)


def argmin(
    input: Tensor,
    dim: int | None = None,
    *,
    keepdim: bool | None = False,
    dtype: dtypes.dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Where the (first) smallest element is, in the input's dtype."""
    filled = _filled(input, mask, gathering.neutral(input.dtype, "amin"))
    return reduction.argmin(filled, dim, bool(keepdim)).to(dtype or input.dtype)


def _count(input: Tensor, dims: tuple[int, ...], keepdim: bool, mask: Tensor | None) -> Tensor:
    if mask is None:
        return input.new_ones(tuple(input.shape), dtype=dtypes.int64).sum(dims, keepdim)
    return _broadcast_mask(input, mask).sum(dims, keepdim)


def mean(
    input: Tensor,
    dim: Dim = None,
    *,
    keepdim: bool | None = False,
    dtype: dtypes.dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The mean of the elements; NaN of none.

    Raises:
        ValueError: for an integer or bool input without a floating-point ``dtype``.
    """
    wanted = dtype or input.dtype
    if dtypes.category(wanted) < 2:
        raise ValueError(
            f"mean(): Could not infer output dtype. {'Input' if dtype is None else 'Optional'} dtype must be either a "
            f"floating point or complex dtype. Got: {wanted}"
        )
    dims = _dims(input, dim)
    return sum(input, dims, keepdim=keepdim, dtype=wanted, mask=mask) / _count(input, dims, bool(keepdim), mask)


def median(
    input: Tensor,
    dim: int = -1,
    *,
    keepdim: bool = False,
    dtype: dtypes.dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The middle element along ``dim``, the lower one of two; NaN of none.

    Raises:
        ValueError: where integers have no element to choose.
    """
    real = input if input.is_floating_point() else input.to(dtypes.float32)
    found: Tensor = statistics.nanmedian(_filled(real, mask, math.nan), dim, keepdim).values
    if input.is_floating_point():
        return found
    if not valid(~found.isnan().any()):
        raise ValueError("masked median expects no fully masked out rows if dtype is not floating point")
    return found.to(dtype or input.dtype)


def logsumexp(
    input: Tensor,
    dim: Dim = None,
    *,
    keepdim: bool = False,
    dtype: dtypes.dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Ln Σ exp of the elements; -∞ of none."""
    lowest = -math.inf if input.is_complex() else gathering.neutral(input.dtype, "amax")
    filled = _filled(input, mask, lowest)
    return normalization.logsumexp(filled, _dims(input, dim), keepdim).to(dtype or input.dtype)


def logaddexp(
    input: Tensor,
    other: Tensor,
    *,
    dtype: dtypes.dtype | None = None,
    input_mask: Tensor | None = None,
    other_mask: Tensor | None = None,
) -> Tensor:
    """Ln(exp(input) + exp(other)), elementwise, without the masked elements."""
    x, y = (_filled(v, m, -math.inf) for v, m in ((input, input_mask), (other, other_mask)))
    return floating.logaddexp(x, y).to(dtype or input.dtype)


def norm(
    input: Tensor,
    ord: float | None = 2.0,
    dim: Dim = None,
    *,
    keepdim: bool | None = False,
    dtype: dtypes.dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The norm (Σ |x|ᵒʳᵈ)^(1/ord) of the elements; 0 of none."""
    from torchlite.linalg import vector_norm

    order = 2.0 if ord is None else ord
    filled = _filled(input, mask, math.inf if order == -math.inf else 0)
    return vector_norm(filled, order, _dims(input, dim), bool(keepdim), dtype=dtype or input.dtype)


def var(
    input: Tensor,
    dim: Dim = None,
    unbiased: bool | None = None,
    *,
    correction: float | None = None,
    keepdim: bool | None = False,
    dtype: dtypes.dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Σ |x - μ|² / (n - correction) of the n elements, with a correction of 1 by default; NaN of none.

    Raises:
        ValueError: when both ``unbiased`` and ``correction`` are given.
    """
    if unbiased is not None and correction is not None:
        raise ValueError("Only one of unbiased and correction may be given")
    less = correction if correction is not None else 1 if unbiased is None else int(unbiased)
    wanted = dtype or (input.dtype if dtypes.category(input.dtype) > 1 else dtypes.float32)
    inner = wanted if dtypes.category(wanted) > 1 else dtypes.float32
    dims, keep = _dims(input, dim), bool(keepdim)
    centred = input - sum(input, dims, keepdim=True, dtype=wanted, mask=mask) / _count(input, dims, True, mask)
    total = sum(centred * centred.conj(), dims, keepdim=keep, dtype=inner, mask=mask)
    count = _count(input, dims, keep, mask)
    return (total / (count - less).clamp(min=0)).to(wanted)


def std(
    input: Tensor,
    dim: Dim = None,
    unbiased: bool | None = None,
    *,
    correction: float | None = None,
    keepdim: bool | None = False,
    dtype: dtypes.dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The square root of `var`."""
    return var(input, dim, unbiased, correction=correction, keepdim=keepdim, dtype=dtype, mask=mask).sqrt()


def _normalized(
    function: Callable[..., Tensor], reduce: str, input: Tensor, dim: int, dtype: dtypes.dtype | None, mask: Any
) -> Tensor:
    return function(_filled(input, mask, gathering.neutral(input.dtype, reduce)), dim, dtype=dtype or input.dtype)


def softmax(input: Tensor, dim: int, *, dtype: dtypes.dtype | None = None, mask: Tensor | None = None) -> Tensor:
    """exp(xᵢ) / Σⱼ exp(xⱼ) along ``dim``; 0 for masked elements, NaN where all are."""
    return _normalized(normalization.softmax, "amax", input, dim, dtype, mask)


def log_softmax(input: Tensor, dim: int, *, dtype: dtypes.dtype | None = None, mask: Tensor | None = None) -> Tensor:
    """The logarithm of `softmax`."""
    return _normalized(normalization.log_softmax, "amax", input, dim, dtype, mask)


def softmin(input: Tensor, dim: int, *, dtype: dtypes.dtype | None = None, mask: Tensor | None = None) -> Tensor:
    """`softmax` of the negative elements."""
    return _normalized(statistics.softmin, "amin", input, dim, dtype, mask)


def normalize(
    input: Tensor,
    ord: float,
    dim: int,
    *,
    eps: float = 1e-12,
    dtype: dtypes.dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The elements divided by their `norm` along ``dim``, or by ``eps`` where that is larger; 0 for masked ones."""
    length = norm(input, ord, dim, keepdim=True, dtype=dtype, mask=mask)
    return _filled(input, mask, 0) / maximum(length, length.new_full((), eps))
