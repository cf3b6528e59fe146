"""Reading and writing along one dimension at the positions of an index tensor: gather, scatter and their like.

Positions count from 0; only where PyTorch's operator takes negative ones, they count from the end here, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from torchlite import backends, dtypes
from torchlite._tensor import Tensor, method
from torchlite.autocasting import autocasts
from torchlite.dispatch import apply
from torchlite.ir import Autocast, Aval, Op, Sample, Shape, register
from torchlite.ops.construct import dims_of
from torchlite.ops.destination import OutDtype, takes_out_as
from torchlite.ops.indexing import index_op, number_for, spec_along
from torchlite.ops.mutation import inplace

_INT32_OR_INT64 = (dtypes.int32, dtypes.int64)


def _along(xp: Any, index: Any, dim: int) -> tuple[Any, ...]:
    """The key that reads or writes position ``index`` along ``dim`` and the same position in all others."""
    grids = [xp.arange(n).reshape([-1 if i == d else 1 for i in range(index.ndim)]) for d, n in enumerate(index.shape)]
    grids[dim] = index
    return tuple(grids)


def _places(xp: Any, index: Any, dim: int, shape: Sequence[int]) -> Any:
    """The same places as `_along` as positions in a flattened array of ``shape``."""
    step = 1
    places = xp.zeros(index.shape, np.int64)
    for d in reversed(range(len(shape))):
        along = index if d == dim else xp.arange(index.shape[d]).reshape((-1,) + (1,) * (index.ndim - d - 1))
        places += along * step
        step *= shape[d]
    return places.reshape(-1)


gather_op: Op = register(
    Op(
        "gather",
        "index",
        run=lambda xp, x, index, *, dim: x[_along(xp, index, dim)],
        infer=lambda x, index, *, dim: Aval(index.shape, x.dtype, x.device),  # noqa: ARG005
        vjp=(
            lambda g, _out, _x, index, dim: apply(_scatter_add, (g, index), {"dim": dim, "shape": _x.shape}),
            None,
        ),
        onnx="GatherElements",
        samples=lambda rng: [
            Sample((rng.normal(size=(3, 4)), rng.integers(0, 4, (3, 2))), {"dim": 1}),
            Sample((rng.normal(size=(3, 4)), rng.integers(0, 3, (5, 4))), {"dim": 0}),
        ],
        doc="out[i][j] = x[index[i][j]][j] for dim 0, and so on.",
    )
)


def _run_scatter_add(xp: Any, values: Any, index: Any, *, dim: int, shape: tuple[int, ...]) -> Any:
    out = xp.zeros(shape, values.dtype)
    if index.size and index.shape[dim] == 1:  # no element is named twice: a plain write will do, ten times faster
        out[_along(xp, index, dim)] = values
    else:
        backends.reduce_at(xp, "sum", out.reshape(-1), _places(xp, index, dim, shape), values.reshape(-1))
    return out


_scatter_add: Op = register(
    Op(
        "scatter_add",
        "index",
        run=_run_scatter_add,
        infer=lambda values, index, *, dim, shape: Aval(shape, values.dtype, values.device),  # noqa: ARG005
        vjp=(lambda g, _out, _values, index, dim, shape: apply(gather_op, (g, index), {"dim": dim}), None),  # noqa: ARG005
        samples=lambda rng: [
            Sample((rng.normal(size=(3, 2)), rng.integers(0, 4, (3, 2))), {"dim": 1, "shape": (3, 4)}),
            Sample((rng.normal(size=(3, 1)), rng.integers(0, 4, (3, 1))), {"dim": 1, "shape": (3, 4)}),
        ],
        doc="Zeros of ``shape`` to which values are added at ``index`` along ``dim``: the adjoint of gather.",
    )
)


def _run_scatter(xp: Any, x: Any, values: Any, index: Any, *, dim: int) -> Any:
    out = x.copy()
    out[_along(xp, index, dim)] = values
    return out


_scatter: Op = register(
    Op(
        "scatter",
        "index",
        run=_run_scatter,
        infer=lambda x, values, index, *, dim: x,  # noqa: ARG005
        vjp=(
            lambda g, _out, _x, _values, index, dim: apply(_scatter, (g, g.new_zeros(()), index), {"dim": dim}),
            lambda g, _out, _x, _values, index, dim: apply(gather_op, (g, index), {"dim": dim}),
            None,
        ),
        onnx="ScatterElements",
        samples=lambda rng: [
            Sample((rng.normal(size=(3, 4)), rng.normal(size=(3, 2)), np.array([[0, 3], [2, 1], [1, 0]])), {"dim": 1}),
            Sample((rng.normal(size=(3, 4)), rng.normal(size=()), np.array([[0, 2, 1]])), {"dim": 0}),
        ],
        doc="A copy of x with values at ``index`` along ``dim``: out[index[i][j]][j] = values[i][j] for dim 0.",
    )
)


def _run_scatter_reduce(xp: Any, x: Any, values: Any, index: Any, *, dim: int, reduce: str) -> Any:
    out = x.copy()
    backends.reduce_at(xp, reduce, out.reshape(-1), _places(xp, index, dim, x.shape), values.reshape(-1))
    return out


def _scatter_reduce_vjp(g: Tensor, out: Tensor, x: Tensor, values: Tensor, index: Tensor, dim: int, reduce: str) -> Any:
    rule = _product_vjp if reduce == "prod" else _extreme_vjp
    return (*rule(g, out, x, values, index, dim), None)


def _added(x: Tensor, dim: int, index: Tensor, values: Tensor) -> Any:
    """``x`` with ``values`` added at ``index`` along ``dim``, of one dtype."""
    return x + apply(_scatter_add, (values, index), {"dim": dim, "shape": tuple(x.shape)})


def _taken(x: Tensor, dim: int, index: Tensor) -> Tensor:
    return apply(gather_op, (x, index), {"dim": dim})


def _extreme_vjp(g: Tensor, out: Tensor, x: Tensor, values: Tensor, index: Tensor, dim: int) -> tuple[Any, Any]:
    """All elements equal to the extreme share the cotangent."""
    own = (x == out).to(g.dtype)
    chosen = (values == _taken(out, dim, index)).to(g.dtype)
    share = g / _added(own, dim, index, chosen)
    return share * own, _taken(share, dim, index) * chosen


def _product_vjp(g: Tensor, _out: Tensor, x: Tensor, values: Tensor, index: Tensor, dim: int) -> tuple[Any, Any]:
    """Each factor gets the product of the others: of those that are not 0, by division, unless another one is 0."""
    zero, zeros = x == 0, values == 0
    x, values = x.masked_fill(zero, 1), values.masked_fill(zeros, 1)
    product = apply(_scatter_reduce, (x, values, index), {"dim": dim, "reduce": "prod"})
    weighted = g * product.conj()
    count = _added(zero.to(dtypes.int64), dim, index, zeros.to(dtypes.int64))
    of_x = (weighted / x.conj()).masked_fill(count > zero, 0)
    of_values = (_taken(weighted, dim, index) / values.conj()).masked_fill(_taken(count, dim, index) > zeros, 0)
    return of_x, of_values


_scatter_reduce: Op = register(
    Op(
        "scatter_reduce",
        "index",
        run=_run_scatter_reduce,
        infer=lambda x, values, index, *, dim, reduce: x,  # noqa: ARG005
        vjp=_scatter_reduce_vjp,
        samples=lambda rng: [
            Sample(
                (rng.normal(size=(3, 4)), rng.normal(size=(3, 5)), rng.integers(0, 4, (3, 5))),
                {"dim": 1, "reduce": reduce},
            )
            for reduce in ("prod", "amax", "amin")
        ],
        doc="x with values multiplied in, or the larger or smaller ones kept, at ``index`` along ``dim``.",
    )
)


def _checked(name: str, input: Tensor, dim: int, index: Tensor, src: Any = None) -> tuple[Tensor, int, Tensor, Any]:
    """``input``, ``dim``, ``index`` and ``src`` with one dimension at least, once they fit together.

    Raises:
        IndexError: for a dimension that does not exist.
        RuntimeError: for an index of another dtype or number of dimensions, or one that is larger than ``input`` or
            ``src`` or points outside, and for a ``src`` of another dtype.
    """
    axis = _axis(name, input, dim)
    if isinstance(src, Tensor) and src.dtype is not input.dtype:
        raise RuntimeError(f"{name}(): Expected self.dtype to be equal to src.dtype, got {input.dtype} and {src.dtype}")
    if index.numel() == 0:
        return input, axis, index, src
    if index.dtype not in _INT32_OR_INT64:
        raise RuntimeError(f"{name}(): Expected dtype int32/int64 for index, got {index.dtype}")
    x, index = _spread(input), _spread(index)
    shape, lengths = x._data.shape, index._data.shape
    if len(lengths) != len(shape):
        raise RuntimeError(
            f"{name}(): Index tensor must have the same number of dimensions as input tensor, got shapes "
            f"{list(lengths)} and {list(shape)}"
        )
    for d, n in enumerate(lengths):
        if n > shape[d] and d != axis:
            raise RuntimeError(
                f"{name}(): Size does not match at dimension {d}: Expected index {list(lengths)} to be no larger than self "
                f"{list(shape)} apart from dimension {axis}"
            )
    if isinstance(src, Tensor):
        src = _covered(name, _spread(src), lengths)
    check_bounds(index, axis, shape[axis], RuntimeError)
    return x, axis, index, src


def _axis(name: str, x: Tensor, dim: int) -> int:
    if x.ndim:
        return x._checked_dim(dim)
    dims_of(name, dim, 0)
    return 0


def _covered(name: str, src: Tensor, lengths: Shape) -> Tensor:
    """The part of ``src`` that an index of shape ``lengths`` covers."""
    shape = src._data.shape
    if len(shape) != len(lengths):
        raise RuntimeError(
            f"{name}(): Index tensor must have the same number of dimensions as src tensor, got shapes "
            f"{list(lengths)} and {list(shape)}"
        )
    if any(n > m for n, m in zip(lengths, shape, strict=True)):
        raise RuntimeError(f"{name}(): Expected index {list(lengths)} to be no larger than src {list(shape)}")
    return src if shape == lengths else src[tuple(slice(n) for n in lengths)]


def _spread(x: Tensor) -> Tensor:
    return x if x.ndim else x.reshape(1)


def check_bounds(index: Tensor, dim: int, n: int, error: type[Exception], *, lowest: int = 0) -> None:
    """Raise ``error`` where a position is not one of ``lowest`` to n - 1."""
    data = index._data
    if isinstance(data, np.ndarray) and data.size:
        low, high = data.min(), data.max()
        if low < lowest or high >= n:
            raise error(f"index {low if low < lowest else high} is out of bounds for dimension {dim} with size {n}")


@takes_out_as(OutDtype.SAME)
@method()
def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:  # noqa: ARG001
    """The elements of ``input`` at positions ``index`` along ``dim``; the result has the shape of ``index``.

    Raises:
        RuntimeError: for an index that is no int32 or int64 tensor, does not fit or points outside.
    """
    x, axis, places, _ = _checked("gather", input, dim, index)
    if index.numel() == 0:  # then PyTorch lets any number of dimensions pass
        return input.reshape(-1)[:0].reshape(index.shape)
    out = _taken(x, axis, places)
    return out if index.ndim else out.reshape(())


@takes_out_as(OutDtype.SAME)
@method()
@autocasts(Autocast(cuda="widest"))
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """``input`` with the elements of ``src`` added at positions ``index`` along ``dim``.

    Raises:
        RuntimeError: for an index that is no int32 or int64 tensor, does not fit or points outside.
    """
    x, axis, places, values = _checked("scatter_add", input, dim, index, src)
    return input.clone() if index.numel() == 0 else _added(x, axis, places, values).reshape(input.shape)


@takes_out_as(OutDtype.SAME)
@method()
def scatter(
    input: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: str | None = None
) -> Tensor:
    """``input`` with ``src`` (or the number ``value``) written at positions ``index`` along ``dim``.

    Args:
        input, dim, index: as in ``gather``; ``out[index[i][j]][j] = src[i][j]`` for dim 0, and so on.
        src: a tensor at least as large as ``index``, or a number.
        value: the number, by name.
        reduce: "add" or "multiply" to combine with what is there.

    Raises:
        TypeError: without ``src`` and ``value``.
        RuntimeError: for another ``reduce``, and an index that does not fit or points outside.
    """
    source = value if src is None else src
    if source is None:
        raise TypeError("scatter(): expected src, a tensor, or value, a number")
    if reduce not in (None, "add", "multiply"):
        raise RuntimeError(f"reduce argument must be either add or multiply, got {reduce!r}")
    x, axis, places, values = _checked("scatter", input, dim, index, source)
    if index.numel() == 0:
        return input.clone()
    if not isinstance(values, Tensor):
        values = number_for("scatter", input, values)
    if reduce is None:
        out = apply(_scatter, (x, values, places), {"dim": axis})
    elif reduce == "add":
        out = _added(x, axis, places, values.expand(places.shape))
    else:
        out = apply(_scatter_reduce, (x, values.expand(places.shape), places), {"dim": axis, "reduce": "prod"})
    return out.reshape(input.shape)


@takes_out_as(OutDtype.SAME)
@method()
def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """The elements of ``src`` reduced into ``input`` at positions ``index`` along ``dim``.

    Args:
        input, dim, index, src: as in `scatter`.
        reduce: "sum", "mean", "prod", "amax" or "amin".
        include_self: whether what stands in ``input`` takes part where something is scattered.

    Raises:
        RuntimeError: for another ``reduce``, and an index that does not fit or points outside.
    """
    if reduce not in ("sum", "mean", "prod", "amax", "amin"):
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    x, axis, places, values = _checked("scatter_reduce", input, dim, index, src)
    if index.numel() == 0:
        return input.clone()
    return reduce_into(x, axis, places, values, reduce, include_self).reshape(input.shape)


def reduce_into(x: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, include_self: bool) -> Tensor:
    """`scatter_reduce` of arguments that fit together and are not empty."""
    category = dtypes.category(x.dtype)
    if (category == 0 and reduce == "mean") or (category == 3 and reduce in ("amax", "amin")):
        raise RuntimeError(f"scatter_reduce: {reduce} is not implemented for {x.dtype}")
    if not include_self:
        start = x.new_full((), 0 if reduce in ("sum", "mean") else neutral(x.dtype, reduce))
        x = apply(_scatter, (x, start, index), {"dim": dim})
    if reduce in ("prod", "amax", "amin"):
        return apply(_scatter_reduce, (x, src, index), {"dim": dim, "reduce": reduce})
    total: Tensor = _added(x, dim, index, src).to(x.dtype)
    if reduce == "sum":
        return total
    ones = (x.new_ones if include_self else x.new_zeros)(x.shape, dtype=dtypes.int64)
    count = _added(ones, dim, index, index.new_ones(index.shape, dtype=dtypes.int64)).clamp(min=1)
    return total / count.to(x.dtype) if category > 1 else total // count.to(x.dtype)


def neutral(dtype: dtypes.dtype, reduce: str) -> Any:
    """The number that changes no product ("prod"), largest ("amax") or smallest element ("amin")."""
    if reduce == "prod":
        return 1
    if dtype is dtypes.bool_:
        return reduce == "amin"
    if dtype.is_floating_point:
        return float("-inf") if reduce == "amax" else float("inf")
    limits = np.iinfo(dtype.numpy)
    return int(limits.min if reduce == "amax" else limits.max)


@takes_out_as(OutDtype.SAME)
@method()
def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The parts of ``input`` at the positions ``index`` (a vector or number) along ``dim``.

    Raises:
        IndexError: for an index of more dimensions or one that points outside.
        RuntimeError: for an index that is no int32 or int64 tensor.
    """
    x, axis, places = vector_of_places("index_select", input, dim, index)
    if input.ndim == 0 and places.numel() != 1:
        raise RuntimeError(f"index_select(): Index to scalar can have only 1 value, got {places.numel()} value(s)")
    out: Tensor = apply(index_op, (x, places), {"spec": spec_along(axis)})
    return out if input.ndim else out.reshape(())


def vector_of_places(
    name: str,
    input: Tensor,
    dim: int,
    index: Tensor,
    *,
    allowed: Sequence[dtypes.dtype] = _INT32_OR_INT64,
    error: type[Exception] = IndexError,
    lowest: int | None = 0,
) -> tuple[Tensor, int, Tensor]:
    """``input`` with one dimension at least, ``dim`` and ``index`` as a vector of positions along it, once they fit.

    Args:
        name, input, dim, index: the operator and its arguments.
        allowed: the dtypes that ``index`` may have.
        error: what is raised for positions outside.
        lowest: the lowest position; None where they may count from the end.
    """
    axis = _axis(name, input, dim)
    if index.dtype not in allowed:
        raise RuntimeError(f"{name}(): Expected dtype {'/'.join(d.name for d in allowed)} for index, got {index.dtype}")
    if index.ndim > 1:
        raise IndexError(f"{name}(): Index is supposed to be a vector, but got one of shape {list(index.shape)}")
    x, places = _spread(input), _spread(index)
    n = x.shape[axis]
    check_bounds(places, axis, n, error, lowest=-n if lowest is None else lowest)
    return x, axis, places


for _function in (scatter, scatter_add, scatter_reduce):
    method(f"{_function.__name__}_")(inplace(_function))
