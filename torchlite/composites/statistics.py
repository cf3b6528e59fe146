"""Statistics over dimensions, composed of sums, sorting and gathering."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from torchlite import dtypes
from torchlite._tensor import Tensor, method
from torchlite.composites.general import norm, std, var
from torchlite.ops.arithmetic import where
from torchlite.ops.construct import dims_of
from torchlite.ops.creation import tensor
from torchlite.ops.joining import cat
from torchlite.ops.reduction import mean
from torchlite.ops.scan import ValuesAndIndices, argsort, sort
from torchlite.ops.softmax import softmax


class MinAndMax(NamedTuple):
    """The smallest and the largest element."""

    min: Tensor
    max: Tensor


def var_mean(
    input: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float = 1
) -> tuple[Tensor, Tensor]:
    """The variance (see `var`) and the mean over ``dim``."""
    return var(input, dim, unbiased, keepdim, correction=correction), mean(input, dim, keepdim)


def std_mean(
    input: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float = 1
) -> tuple[Tensor, Tensor]:
    """The standard deviation (see `std`) and the mean over ``dim``."""
    return std(input, dim, unbiased, keepdim, correction=correction), mean(input, dim, keepdim)


def _middle(input: Tensor, dim: Any, keepdim: bool, *, skip_nan: bool) -> Any:
    if dim is None:
        if input.numel() == 0:
            return input.new_full((), math.nan)
        return _middle(input.reshape(-1), 0, False, skip_nan=skip_nan).values
    if input.ndim == 0:
        dims_of("median", dim, 0)
        return ValuesAndIndices(input.clone(), input.new_zeros((), dtype=dtypes.int64))
    dim = input._checked_dim(dim)
    n = input.shape[dim]
    if n == 0:
        raise IndexError(f"median(): Expected reduction dim {dim} to have non-zero size.")
    order = argsort(input.detach(), dim)
    missing = input.isnan().sum(dim, keepdim=True)  # NaN is sorted to the end
    if skip_nan:
        place = ((n - missing - 1).clamp(min=0).div(2, rounding_mode="floor")).to(dtypes.int64)
    else:
        place = where(missing > 0, n - missing, (n - 1) // 2)
    indices = order.gather(dim, place)
    values = input.gather(dim, indices)
    return ValuesAndIndices(values, indices) if keepdim else ValuesAndIndices(values.squeeze(dim), indices.squeeze(dim))


@method()
def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The middle element, the lower one of two; NaN where there is one. With ``dim``: (values, indices) along it."""
    return _middle(input, dim, keepdim, skip_nan=False)


@method()
def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The `median` of the elements that are not NaN."""
    return _middle(input, dim, keepdim, skip_nan=True)


@method()
def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> ValuesAndIndices:
    """The most frequent element along ``dim``, the smallest of several, and where it is found last."""
    if input.ndim == 0:
        return ValuesAndIndices(input.clone(), input.new_zeros((), dtype=dtypes.int64))
    last = input.movedim(dim, -1)
    ordered = sort(last.detach(), -1).values
    counts = (ordered.unsqueeze(-1) == ordered.unsqueeze(-2)).sum(-1)
    chosen = ordered.gather(-1, counts.argmax(-1, keepdim=True))
    backwards = (last == chosen).to(dtypes.int64).flip(-1)
    indices = last.shape[-1] - 1 - backwards.argmax(-1, keepdim=True)
    values = last.gather(-1, indices)
    if keepdim:
        return ValuesAndIndices(values.movedim(-1, dim), indices.movedim(-1, dim))
    return ValuesAndIndices(values.squeeze(-1), indices.squeeze(-1))


def _quantile(
    name: str, input: Tensor, q: Any, dim: int | None, keepdim: bool, interpolation: str, *, skip_nan: bool
) -> Tensor:
    if interpolation not in ("linear", "lower", "higher", "midpoint", "nearest"):
        raise RuntimeError(
            f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, but got {interpolation}"
        )
    levels = q if isinstance(q, Tensor) else tensor(q, dtype=input.dtype, device=input.device)
    if levels.dtype is not input.dtype:
        raise RuntimeError(
            f"{name}() q tensor must be same dtype as the input tensor, got {levels.dtype} and {input.dtype}"
        )
    if bool(((levels < 0) | (levels > 1)).any()):
        raise RuntimeError(f"{name}() q values must be in the range [0, 1]")
    if input.numel() == 0:
        raise RuntimeError(f"{name}() input tensor must be non-empty")
    last = input.reshape(-1) if dim is None else input.movedim(dim, -1) if input.ndim else input.reshape(1)
    ordered = sort(last, -1).values
    missing = last.isnan().sum(-1, keepdim=True)
    n = last.shape[-1]
    known = (n - missing).to(input.dtype)
    ranks = levels.detach().reshape(-1) * ((known - 1).clamp(min=0) if skip_nan else n - 1)
    if not skip_nan:
        ranks = where(missing > 0, n - 1.0, ranks.expand((*missing.shape[:-1], ranks.shape[-1])))
    ranks = {"lower": ranks.floor, "higher": ranks.ceil, "nearest": ranks.round}.get(interpolation, ranks.clone)()
    below = ranks.floor()
    low = ordered.gather(-1, below.to(dtypes.int64))
    high = ordered.gather(-1, ranks.ceil().to(dtypes.int64))
    weight = (ranks > below).to(input.dtype) * 0.5 if interpolation == "midpoint" else ranks - below
    result: Tensor = (low + (high - low) * weight).movedim(-1, 0)  # (levels, ...)
    if keepdim:
        result = result.unsqueeze(dim % input.ndim + 1) if dim is not None else result.reshape(-1, *(1,) * input.ndim)
    return result if levels.ndim else result.squeeze(0)


@method()
def quantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """The q-quantiles (``q`` a number or a vector in [0, 1]) along ``dim``, or of all; NaN where there is one."""
    return _quantile("quantile", input, q, dim, keepdim, interpolation, skip_nan=False)


@method()
def nanquantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """The `quantile` of the elements that are not NaN."""
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation, skip_nan=True)


@method()
def nansum(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: dtypes.dtype | None = None) -> Tensor:
    """Σ of the elements that are not NaN."""
    total: Tensor = where(input.isnan(), 0, input).sum(dim, keepdim, dtype=dtype)
    return total


@method()
def nanmean(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: dtypes.dtype | None = None) -> Tensor:
    """The mean of the elements that are not NaN."""
    known = (~input.isnan()).sum(dim, keepdim)
    return nansum(input, dim, keepdim, dtype=dtype) / known


@method()
def count_nonzero(input: Tensor, dim: Any = None) -> Tensor:
    """The number of elements over ``dim`` that are not 0."""
    return (input != 0).sum(dim)


@method()
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> MinAndMax:
    """The smallest and the largest element, of all or along ``dim``."""
    dims = () if dim is None else dim
    return MinAndMax(input.amin(dims, keepdim), input.amax(dims, keepdim))


@method()
def diff(
    input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None
) -> Tensor:
    """Differences of neighbours along ``dim``, taken ``n`` times.

    Raises:
        RuntimeError: for a 0-d tensor.
    """
    if input.ndim == 0:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    parts = [x for x in (prepend, input, append) if x is not None]
    x = cat(parts, dim) if len(parts) > 1 else input
    for _ in range(n):
        length = max(x.shape[dim] - 1, 0)
        start = min(1, x.shape[dim])
        after, before = x.narrow(dim, start, length), x.narrow(dim, 0, length)
        x = after ^ before if x.dtype is dtypes.bool_ else after - before
    return x


def _trapezoids(y: Tensor, x: Tensor | None, dx: float, dim: int) -> Tensor:
    n = y.shape[dim]
    width: Any = dx
    if x is not None:
        width = diff(x, dim=dim if x.ndim == y.ndim else -1)
        if x.ndim == 1 and y.ndim > 1:
            width = width.reshape([-1 if d == dim % y.ndim else 1 for d in range(y.ndim)])
    pairs: Tensor = y.narrow(dim, 1, n - 1) + y.narrow(dim, 0, n - 1)
    return pairs * width * 0.5


def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: float = 1, dim: int = -1) -> Tensor:
    """∫ y dx along ``dim`` by the trapezoidal rule, at the points ``x`` or with spacing ``dx``."""
    return _trapezoids(y, x, dx, dim).sum(dim)


def cumulative_trapezoid(y: Tensor, x: Tensor | None = None, *, dx: float = 1, dim: int = -1) -> Tensor:
    """Running integrals of ``y`` along ``dim`` by the trapezoidal rule."""
    return _trapezoids(y, x, dx, dim).cumsum(dim)


trapz = trapezoid


@method()
def cov(
    input: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None
) -> Tensor:
    """The covariances of the rows; columns are observations, counted ``fweights`` times or weighing ``aweights``."""
    x = input.reshape(1, -1) if input.ndim < 2 else input
    weights = None
    for w in (fweights, aweights):
        weights = w if weights is None else weights if w is None else weights * w
    total: Any = x.shape[1] if weights is None else weights.sum()
    average = x.mean(1, True) if weights is None else (x * weights).sum(1, True) / total
    centred = x - average
    if aweights is not None and weights is not None and correction:
        divisor = total - correction * (weights * aweights).sum() / total
    else:
        divisor = total - correction
    divisor = divisor.clamp(min=0) if isinstance(divisor, Tensor) else max(divisor, 0)
    weighted = centred if weights is None else centred * weights
    result: Tensor = (weighted @ centred.mH) / divisor
    return result.reshape(()) if input.ndim < 2 else result


@method()
def corrcoef(input: Tensor) -> Tensor:
    """Pearson's correlations of the rows; columns are observations."""
    c = cov(input)
    if input.ndim < 2:
        return c / c
    deviations = (c * _unit_like(c)).sum(-1).sqrt()
    return (c / deviations.unsqueeze(1) / deviations.unsqueeze(0)).clamp(-1, 1)


def _unit_like(c: Tensor) -> Tensor:
    from torchlite.ops.creation import eye

    return eye(c.shape[0], dtype=c.dtype, device=c.device)


@method()
def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of ``input - other``."""
    return norm(input - other, p)


def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str | None = None) -> Tensor:  # noqa: ARG001
    """The p-norm distances of the rows of ``x1`` (..., P, M) and ``x2`` (..., R, M): (..., P, R)."""
    return norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1)


@method()
def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """``input`` with each slice along ``dim`` scaled down to a p-norm of at most ``maxnorm``."""
    dim = input._checked_dim(dim)
    others = [d for d in range(input.ndim) if d != dim]
    size = norm(input, p, others, True)
    return input * where(size > maxnorm, maxnorm / (size + 1e-7), 1.0)


def softmin(input: Tensor, dim: int, dtype: dtypes.dtype | None = None) -> Tensor:
    """exp(-xᵢ) / Σⱼ exp(-xⱼ) along ``dim``."""
    return softmax(-input, dim, dtype)


def _running_extreme(input: Tensor, dim: int, *, largest: bool) -> ValuesAndIndices:
    if input.ndim == 0:
        return ValuesAndIndices(input.clone(), input.new_zeros((), dtype=dtypes.int64))
    dim = input._checked_dim(dim)
    values, places, best = [], [], None
    place = None
    for i, x in enumerate(input.detach().unbind(dim)):
        here = x.new_full(x.shape, i, dtype=dtypes.int64)
        if best is None or place is None:
            best, place = x, here
        else:
            better = ((x >= best) if largest else (x <= best)) | x.isnan()
            better = better & (~best.isnan() | x.isnan())
            best, place = where(better, x, best), where(better, here, place)
        values.append(best)
        places.append(place)
    if not places:
        return ValuesAndIndices(input.clone(), input.new_zeros(input.shape, dtype=dtypes.int64))
    from torchlite.ops.joining import stack

    indices = stack(places, dim)
    return ValuesAndIndices(input.gather(dim, indices), indices)


@method()
def cummax(input: Tensor, dim: int) -> ValuesAndIndices:
    """The largest element so far along ``dim``, and where it (last) was."""
    return _running_extreme(input, dim, largest=True)


@method()
def cummin(input: Tensor, dim: int) -> ValuesAndIndices:
    """The smallest element so far along ``dim``, and where it (last) was."""
    return _running_extreme(input, dim, largest=False)
