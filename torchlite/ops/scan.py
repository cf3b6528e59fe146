"""Order along a dimension: sorting and running totals."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite import backends, dtypes, return_types
from torchlite._tensor import Tensor, method
from torchlite.autocasting import autocasts
from torchlite.dispatch import apply
from torchlite.ir import FLOAT32_ON_CUDA, Aval, Op, Sample, register
from torchlite.ops.argsort import argsort
from torchlite.ops.construct import dims_of
from torchlite.ops.destination import OutDtype, takes_out_as
from torchlite.ops.gathering import gather_op
from torchlite.ops.half_precision import widened
from torchlite.ops.mutation import inplace
from torchlite.ops.reduction import argmax, argmin

# What rounding at every step would leave of a long sum or product; on a GPU, as PyTorch's there, it is their own dtype.
_STEPS_IN: dict[Any, Any] = {
    np.dtype(np.float32): np.dtype(np.float64),
    np.dtype(np.complex64): np.dtype(np.complex128),
}


def running(xp: Any, name: str, x: Any, dim: int) -> Any:
    """Running sums ("cumsum") or products ("cumprod") of an array."""
    dtype: Any = np.dtype(np.int64) if x.dtype.kind in "biu" else x.dtype
    steps_in = _STEPS_IN.get(dtype, dtype) if xp is np else dtype
    with np.errstate(all="ignore"):
        return getattr(xp, name)(x, axis=dim, dtype=steps_in).astype(dtype, copy=False)


def _infer_cumsum(x: Aval, *, dim: int) -> Aval:  # noqa: ARG001
    return Aval(x.shape, np.dtype(np.int64) if x.dtype.kind in "biu" else x.dtype, x.device)


_cumsum: Op = register(
    Op(
        "cumsum",
        "reduce",
        run=widened(lambda xp, x, *, dim: running(xp, "cumsum", x, dim)),
        infer=_infer_cumsum,
        vjp=(lambda g, _out, _x, dim: g.flip(dim).cumsum(dim).flip(dim),),
        onnx="CumSum",
        samples=lambda rng: [Sample((rng.normal(size=(3, 4)),), {"dim": 1})],
        doc="Running totals along a dimension.",
    )
)


@takes_out_as(OutDtype.SAME)
@method()
def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> return_types.Results:
    """The elements in order along ``dim``, and where they were."""
    indices = argsort(input, dim, descending, stable)
    return return_types.sort((_take(input, dim, indices), indices))


@takes_out_as(OutDtype.SAME)
@method()
def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> return_types.Results:  # noqa: ARG001
    """The ``k`` largest (or smallest) elements along ``dim`` in order, and where they were."""
    n = 1 if input.ndim == 0 else input.shape[input._checked_dim(dim)]
    if not 0 <= k <= n:
        raise RuntimeError(f"selected index k out of range: k is {k}, dimension {dim} has {n} elements")
    indices = argsort(input, dim, descending=largest)
    if input.ndim:
        indices = indices.narrow(dim, 0, k)
    return return_types.topk((_take(input, dim, indices), indices))


def accumulated(name: str, dtype: dtypes.dtype) -> dtypes.dtype:
    """The ``dtype`` that running totals are asked for in, which can't be bool."""
    if dtype is dtypes.bool_:
        raise RuntimeError(f"{name} is not implemented for torch.bool")
    return dtype


@takes_out_as(OutDtype.COMPUTE)
@method()
@autocasts(FLOAT32_ON_CUDA)
def cumsum(input: Tensor, dim: int, *, dtype: dtypes.dtype | None = None) -> Tensor:
    """Running totals along ``dim``; integers add up in int64."""
    if dtype is not None:
        return cumsum(input.to(dtype), dim).to(accumulated("cumsum", dtype))
    (position,) = dims_of("cumsum", dim, input.ndim) or (None,)
    return input.sum() if position is None else apply(_cumsum, (input,), {"dim": position})


method("cumsum_")(inplace(cumsum))


def _take(x: Tensor, dim: int, indices: Tensor) -> Tensor:
    return x.clone() if x.ndim == 0 else apply(gather_op, (x, indices), {"dim": x._checked_dim(dim)})


def _extreme(name: str, input: Tensor, dim: Any, keepdim: bool) -> Any:
    largest = name == "max"
    if isinstance(dim, Tensor):
        from torchlite.ops.arithmetic import maximum, minimum

        return maximum(input, dim) if largest else minimum(input, dim)
    if dim is None:
        if input.numel() == 0:
            raise RuntimeError(
                f"{name}(): Expected reduction dim to be specified for input.numel() == 0. "
                "Specify the reduction dim with the 'dim' argument."
            )
        return input.amax() if largest else input.amin()
    indices = (argmax if largest else argmin)(input, dim, True)
    values = _take(input, dim, indices)
    if not keepdim and input.ndim:
        values, indices = values.squeeze(dim), indices.squeeze(dim)
    return (return_types.max if largest else return_types.min)((values, indices))


@takes_out_as(OutDtype.SAME)
@method()
def max(input: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """The largest element; with ``dim`` (values, indices) along it; with a tensor the elementwise maximum."""
    return _extreme("max", input, dim, keepdim)


@takes_out_as(OutDtype.SAME)
@method()
def min(input: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """The smallest element; with ``dim`` (values, indices) along it; with a tensor the elementwise minimum."""
    return _extreme("min", input, dim, keepdim)


def _run_running_place(xp: Any, x: Any, *, dim: int, largest: bool) -> Any:
    best = backends.running_extreme(xp, x, dim, largest=largest)
    places = xp.arange(x.shape[dim]).reshape([-1 if d == dim else 1 for d in range(x.ndim)])
    return backends.running_extreme(xp, xp.where((x == best) | (x != x), places, 0), dim, largest=True)


_running_place = register(
    Op(
        "running_place",
        "index",
        run=_run_running_place,
        infer=lambda x, *, dim, largest: Aval(x.shape, np.dtype(np.int64), x.device),  # noqa: ARG005
        samples=lambda rng: [
            Sample((rng.normal(size=(3, 4)),), {"dim": 1, "largest": True}),
            Sample((rng.normal(size=(3, 4)),), {"dim": 0, "largest": False}),
        ],
        doc="Where along a dimension the largest (or smallest) element so far last was; NaN exceeds all.",
    )
)


def _running_extreme(kind: type[return_types.Results], input: Tensor, dim: int) -> return_types.Results:
    (position,) = dims_of(kind.__name__, dim, input.ndim) or (0,)
    if input.ndim == 0:
        return kind((input.clone(), input.new_zeros((), dtype=dtypes.int64)))
    indices = apply(_running_place, (input,), {"dim": position, "largest": kind is return_types.cummax})
    return kind((_take(input, position, indices), indices))


@takes_out_as(OutDtype.SAME)
@method()
def cummax(input: Tensor, dim: int) -> return_types.Results:
    """The largest element so far along ``dim``, and where it (last) was."""
    return _running_extreme(return_types.cummax, input, dim)


@takes_out_as(OutDtype.SAME)
@method()
def cummin(input: Tensor, dim: int) -> return_types.Results:
    """The smallest element so far along ``dim``, and where it (last) was."""
    return _running_extreme(return_types.cummin, input, dim)
