"""Statistics over dimensions, composed of sums, sorting and gathering."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torchlite import dtypes, return_types
from torchlite._tensor import Tensor, method
from torchlite.autocasting import autocasts
from torchlite.composites.general import correction_of, lerp, std, var
from torchlite.integers import takes_integers
from torchlite.ir import FLOAT32_ON_CPU, Autocast
from torchlite.ops.argsort import argsort
from torchlite.ops.arithmetic import where
from torchlite.ops.complex import complex
from torchlite.ops.construct import common_dtype, dims_of
from torchlite.ops.creation import arange, tensor
from torchlite.ops.destination import OutDtype, takes_out, takes_out_as
from torchlite.ops.joining import cat
from torchlite.ops.reduction import mean
from torchlite.ops.scan import sort
from torchlite.ops.softmax import softmax
from torchlite.tracing import valid


@autocasts(Autocast(cuda="as given"))
def var_mean(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """The variance (see `var`) and the mean over ``dim``."""
    dim, correction = correction_of(dim, unbiased, correction)
    return var(input, dim, keepdim=keepdim, correction=correction), mean(input, dim, keepdim)


@autocasts(Autocast(cuda="as given"))
def std_mean(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """The standard deviation (see `std`) and the mean over ``dim``."""
    dim, correction = correction_of(dim, unbiased, correction)
    return std(input, dim, keepdim=keepdim, correction=correction), mean(input, dim, keepdim)


def _middle(kind: type[return_types.Results], input: Tensor, dim: Any, keepdim: bool) -> Any:
    """The middle elements as a ``kind``; without the NaN for nanmedian."""
    if dim is None:
        if input.numel() == 0:
            return input.new_full((), math.nan if input.is_floating_point() else dtypes.iinfo(input.dtype).min)
        return _middle(kind, input.reshape(-1), 0, False).values
    if input.ndim == 0:
        dims_of(kind.__name__, dim, 0)
        return kind((input.clone(), input.new_zeros((), dtype=dtypes.int64)))
    dim = input._checked_dim(dim)
    n = input.shape[dim]
    if n == 0:
        raise IndexError(f"{kind.__name__}(): Expected reduction dim {dim} to have non-zero size.")
    order = argsort(input.detach(), dim)
    missing = input.isnan().sum(dim, keepdim=True)  # NaN is sorted to the end
    if kind is return_types.nanmedian:
        place = (n - missing - 1).clamp(min=0) // 2
    else:
        place = where(missing > 0, n - missing, (n - 1) // 2)
    indices = order.gather(dim, place)
    values = input.gather(dim, indices)
    return kind((values, indices) if keepdim else (values.squeeze(dim), indices.squeeze(dim)))


@takes_out_as(OutDtype.SAME)
@method()
def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The middle element, the lower one of two; NaN where there is one. With ``dim``: (values, indices) along it."""
    return _middle(return_types.median, input, dim, keepdim)


@takes_out_as(OutDtype.SAME)
@method()
def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The `median` of the elements that are not NaN."""
    return _middle(return_types.nanmedian, input, dim, keepdim)


@takes_out_as(OutDtype.SAME)
@method()
def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> return_types.Results:
    """The most frequent element along ``dim``, the smallest of several, and where it is found last."""
    if input.ndim == 0:
        dims_of("mode", dim, 0)
        return return_types.mode((input.clone(), input.new_zeros((), dtype=dtypes.int64)))
    last = input.movedim(dim, -1)
    n = last.shape[-1]
    if n == 0:
        raise IndexError(f"mode(): Expected reduction dim {dim} to have non-zero size.")
    ordered = sort(last.detach(), -1).values
    # Runs of equal elements: each element's distance from where its run begins is largest at the end of the longest.
    place = arange(n, device=input.device).expand(ordered.shape)
    begins = cat([ordered.new_ones((*ordered.shape[:-1], 1)).bool(), ordered[..., 1:] != ordered[..., :-1]], -1)
    length = place - where(begins, place, 0).cummax(-1).values
    chosen = ordered.gather(-1, length.argmax(-1, keepdim=True))
    same = (last == chosen) | (last.isnan() & chosen.isnan())
    indices = n - 1 - same.to(dtypes.int64).flip(-1).argmax(-1, keepdim=True)
    values = last.gather(-1, indices)
    if keepdim:
        return return_types.mode((values.movedim(-1, dim), indices.movedim(-1, dim)))
    return return_types.mode((values.squeeze(-1), indices.squeeze(-1)))


def _quantile(
    name: str, input: Tensor, q: Any, dim: int | None, keepdim: bool, interpolation: str, *, skip_nan: bool
) -> Tensor:
    if interpolation not in ("linear", "lower", "higher", "midpoint", "nearest"):
        raise RuntimeError(
            f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, but got {interpolation}"
        )
    if input.dtype not in (dtypes.float32, dtypes.float64):
        raise RuntimeError(f"{name}() input tensor must be either float or double dtype, got {input.dtype}")
    levels = q if isinstance(q, Tensor) else tensor(q, dtype=input.dtype, device=input.device)
    if levels.ndim > 1:
        raise RuntimeError(f"{name}() q must be a scalar or 1D tensor, got {levels.ndim} dimensions")
    if levels.dtype is not input.dtype:
        raise RuntimeError(
            f"{name}() q tensor must be same dtype as the input tensor, got {levels.dtype} and {input.dtype}"
        )
    if not levels.is_meta and not valid(~((levels < 0) | (levels > 1)).any()):
        raise RuntimeError(f"{name}() q values must be in the range [0, 1]")
    if input.numel() == 0:
        raise RuntimeError(f"{name}() input tensor must be non-empty")
    last = input.reshape(-1) if dim is None else input.movedim(dim, -1) if input.ndim else input.reshape(1)
    ordered = sort(last, -1).values
    missing = last.isnan().sum(-1, keepdim=True)
    n = last.shape[-1]
    known = (n - missing).to(input.dtype)
    ranks = levels.reshape(-1) * ((known - 1).clamp(min=0) if skip_nan else n - 1)
    if not skip_nan:
        ranks = where(missing > 0, n - 1.0, ranks.expand((*missing.shape[:-1], ranks.shape[-1])))
    ranks = {"lower": ranks.floor, "higher": ranks.ceil, "nearest": ranks.round}.get(interpolation, ranks.clone)()
    below = ranks.floor()
    low = ordered.gather(-1, below.to(dtypes.int64))
    high = ordered.gather(-1, ranks.ceil().to(dtypes.int64))
    weight = (ranks > below).to(input.dtype) * 0.5 if interpolation == "midpoint" else ranks - below
    result: Tensor = lerp(low, high, weight).movedim(-1, 0)  # (levels, ...)
    if keepdim and dim is None:
        result = result.reshape(-1, *(1,) * input.ndim)
    elif keepdim and input.ndim:
        result = result.unsqueeze(input._checked_dim(dim) + 1)  # type: ignore[arg-type]
    return result if levels.ndim else result.squeeze(0)


@takes_out_as(OutDtype.SAME)
@method()
@autocasts(FLOAT32_ON_CPU)
def quantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """The q-quantiles (``q`` a number or a vector in [0, 1]) along ``dim``, or of all; NaN where there is one."""
    return _quantile("quantile", input, q, dim, keepdim, interpolation, skip_nan=False)


@takes_out_as(OutDtype.SAME)
@method()
@autocasts(FLOAT32_ON_CPU)
def nanquantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """The `quantile` of the elements that are not NaN."""
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation, skip_nan=True)


@takes_out_as(OutDtype.COMPUTE)
@method()
@autocasts(Autocast(cuda="as given"))
def nansum(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: dtypes.dtype | None = None) -> Tensor:
    """Σ of the elements that are not NaN."""
    total: Tensor = where(input.isnan(), 0, input).sum(dim, keepdim, dtype=dtype)
    return total


@takes_out
@method()
@autocasts(Autocast(cuda="as given"))
def nanmean(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: dtypes.dtype | None = None) -> Tensor:
    """The mean of the elements that are not NaN."""
    known = (~input.isnan()).sum(dim, keepdim)
    return nansum(input, dim, keepdim, dtype=dtype) / known


@takes_out_as(OutDtype.SAME)
@method()
def count_nonzero(input: Tensor, dim: Any = None) -> Tensor:
    """The number of elements over ``dim`` that are not 0."""
    return (input != 0).sum(dim)


@takes_out_as(OutDtype.SAME)
@method()
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> return_types.Results:
    """The smallest and the largest element, of all or along ``dim``."""
    dims = () if dim is None else dim
    return return_types.aminmax((input.amin(dims, keepdim), input.amax(dims, keepdim)))


@takes_out
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
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    if n == 0:
        return input.clone()
    parts = [x for x in (prepend, input, append) if x is not None]
    x = cat(parts, dim) if len(parts) > 1 else input
    for _ in range(n):
        length = max(x.shape[dim] - 1, 0)
        start = min(1, x.shape[dim])
        after, before = x.narrow(dim, start, length), x.narrow(dim, 0, length)
        x = after ^ before if x.dtype is dtypes.bool_ else after - before
    return x


def gradient(
    input: Tensor, *, spacing: Any = 1, dim: int | Sequence[int] | None = None, edge_order: int = 1
) -> tuple[Tensor, ...]:
    """Estimates of the derivatives along dimensions: central differences, and one-sided ones at both ends.

    Args:
        input: samples of a function.
        spacing: the distance of neighbours, for each dimension one, or for each the coordinates as a vector.
        dim: the dimensions; all by default.
        edge_order: 1 or 2: whether the differences at the ends take two or three points.

    Raises:
        RuntimeError: when a dimension has less than ``edge_order`` + 1 points, or ``spacing`` does not fit.
    """
    dims = dims_of("gradient", dim, input.ndim)
    if isinstance(spacing, (list, tuple)):
        if len(spacing) != len(dims):
            raise RuntimeError(
                f"torch.gradient expected spacing to be unspecified, a scalar, or a list of length {len(dims)}, one for "
                f"each dimension, but got a list of length {len(spacing)}"
            )
        spacings = list(spacing)
    else:
        spacings = [1 if spacing is None else spacing] * len(dims)
    if edge_order not in (1, 2):
        raise RuntimeError(f"torch.gradient only supports edge_order=1 and edge_order=2, got {edge_order}")
    if any(input.shape[d] <= edge_order for d in dims if input.ndim):
        raise RuntimeError(
            f"torch.gradient expected each dimension size to be at least edge_order+1, got shape {list(input.shape)}"
        )
    return tuple(_slopes(input, d, h, edge_order) for d, h in zip(dims, spacings, strict=True))


def _slopes(f: Tensor, dim: int, spacing: Any, edge_order: int) -> Tensor:
    n = f.shape[dim]
    if isinstance(spacing, Tensor) and spacing.ndim:
        h = diff(spacing).reshape([-1 if d == dim else 1 for d in range(f.ndim)])
    else:
        h = f.new_ones([n - 1 if d == dim else 1 for d in range(f.ndim)], dtype=common_dtype((f, 1.0))) * spacing
    h = h.to(common_dtype((f, 1.0)))
    steps = (f.narrow(dim, 1, n - 1) - f.narrow(dim, 0, n - 1)) / h
    first, last = steps.narrow(dim, 0, 1), steps.narrow(dim, n - 2, 1)
    if n == 2:
        return cat([first, last], dim)
    left, right = h.narrow(dim, 0, n - 2), h.narrow(dim, 1, n - 2)
    # The slope, at the middle one of three neighbours, of the parabola through them. A step is the mean of the
    # parabola's slopes at its two ends.
    inner = (steps.narrow(dim, 0, n - 2) * right + steps.narrow(dim, 1, n - 2) * left) / (left + right)
    if edge_order == 2:
        first = first * 2 - inner.narrow(dim, 0, 1)
        last = last * 2 - inner.narrow(dim, n - 3, 1)
    return cat([first, inner, last], dim)


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
@takes_integers
def cov(
    input: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None
) -> Tensor:
    """The covariances of the rows; columns are observations, counted ``fweights`` times or weighing ``aweights``."""
    if input.ndim > 2:
        raise RuntimeError(f"cov(): expected input to have two or fewer dimensions but got an input with {input.ndim}")
    x = input.reshape(1, -1) if input.ndim < 2 else input
    x = x.to(dtypes.get_default_dtype()) if x._data.dtype.kind in "biu" else x
    weights = None
    for name, given in (("fweights", fweights), ("aweights", aweights)):
        if given is not None:
            _check_weights(name, given, x.shape[1])
            weights = given if weights is None else weights * given
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
    return result.squeeze()


def _check_weights(name: str, weights: Tensor, n: int) -> None:
    if weights.ndim > 1:
        raise RuntimeError(f"cov(): expected {name} to have one or fewer dimensions but got {weights.ndim} dimensions")
    if weights._data.dtype.kind not in ("iu" if name == "fweights" else "f"):
        raise RuntimeError(f"cov(): expected {name} to have another dtype than {weights.dtype}")
    if weights.numel() != n:
        raise RuntimeError(f"cov(): expected {name} to have the same numel as there are observations, {n}")
    if not weights.is_meta and not valid(~(weights < 0).any()):
        raise RuntimeError(f"cov(): {name} cannot be negative")


@method()
def corrcoef(input: Tensor) -> Tensor:
    """Pearson's correlations of the rows; columns are observations."""
    c = cov(input)
    if c.ndim == 0:
        return c / c
    deviations = c.diagonal().sqrt()
    correlations = c / deviations.unsqueeze(1) / deviations.unsqueeze(0)
    if c.is_complex():
        return complex(correlations.real.clamp(-1, 1), correlations.imag.clamp(-1, 1))
    return correlations.clamp(-1, 1)


def softmin(input: Tensor, dim: int, dtype: dtypes.dtype | None = None) -> Tensor:
    """exp(-xᵢ) / Σⱼ exp(-xⱼ) along ``dim``."""
    return softmax(-input, dim, dtype)
