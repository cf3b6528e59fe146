"""Composites that read and write elements at positions given by index tensors and masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torchlite import dtypes
from torchlite._tensor import Tensor, method
from torchlite.composites.assembly import broadcast_tensors
from torchlite.composites.searching import unique
from torchlite.dispatch import apply
from torchlite.ir import broadcast_shapes
from torchlite.ops.arithmetic import maximum, minimum, mul, where
from torchlite.ops.creation import arange, zeros_like
from torchlite.ops.destination import OutDtype, takes_out_as
from torchlite.ops.indexing import gather, scatter_add, setitem
from torchlite.ops.mutation import inplace, view_scatter
from torchlite.ops.views import select_op

_ALL = slice(None)


def _positions(dim: int, index: Tensor) -> tuple[Any, ...]:
    """The key of the parts ``index`` along ``dim``."""
    return (*(_ALL,) * dim, index.reshape(-1))


def _coordinates(dim: int, index: Tensor) -> tuple[Any, ...]:
    """The key of the elements that ``gather`` reads: ``index`` along ``dim``, its own position in the others."""
    grids: list[Any] = [
        arange(n, device=index.device).reshape([-1 if i == d else 1 for i in range(index.ndim)])
        for d, n in enumerate(index.shape)
    ]
    grids[dim] = index.to(dtypes.int64)
    return tuple(grids)


def _written(input: Tensor, key: Any, value: Any) -> Tensor:
    out = input.clone()
    setitem(out, key, value.to(input.dtype) if isinstance(value, Tensor) else value)
    return out


def _same_dtype(name: str, input: Tensor, source: Tensor) -> None:
    if input.dtype != source.dtype:
        raise RuntimeError(
            f"{name}(): self and source expected to have the same dtype, got {input.dtype} and {source.dtype}"
        )


@takes_out_as(OutDtype.SAME)
@method()
def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """``input`` with ``alpha`` · the parts of ``source`` added at the positions ``index`` along ``dim``."""
    if input.ndim == 0:
        return index_add(input.reshape(1), dim, index, source.reshape(-1), alpha=alpha).reshape(())
    _same_dtype("index_add", input, source)
    axis = input._checked_dim(dim)
    added = source if alpha == 1 else source * alpha
    return index_put(input, _positions(axis, index), added.to(input.dtype), accumulate=True)


@takes_out_as(OutDtype.SAME)
@method()
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """``input`` with the parts at the positions ``index`` along ``dim`` replaced by those of ``source``."""
    if input.ndim == 0:
        return index_copy(input.reshape(1), dim, index, source.reshape(-1)).reshape(())
    _same_dtype("index_copy_", input, source)
    return _written(input, _positions(input._checked_dim(dim), index), source)


@method()
def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """``input`` with the parts at the positions ``index`` along ``dim`` set to a number."""
    if isinstance(value, Tensor) and value.ndim:
        raise RuntimeError(f"index_fill_ only supports a 0-dimensional value tensor, but got shape {list(value.shape)}")
    if input.ndim == 0:
        return index_fill(input.reshape(1), dim, index, value).reshape(())
    return _written(input, _positions(input._checked_dim(dim), unique(index)), value)


@method()
def index_put(input: Tensor, indices: Sequence[Any], values: Tensor, accumulate: bool = False) -> Tensor:
    """``input`` with ``input[indices]`` replaced by ``values``, or with ``values`` added there.

    With ``accumulate`` an element that is named repeatedly receives every addition.
    """
    key = tuple(_ALL if i is None else i for i in indices)
    if not accumulate:
        return _written(input, key, values)
    places = arange(input.numel(), device=input.device).reshape(tuple(input.shape))[key]
    flat = scatter_add(input.reshape(-1), 0, places.reshape(-1), values.expand(tuple(places.shape)).reshape(-1))
    return flat.reshape(tuple(input.shape))


def _scatter_arguments(input: Tensor, index: Tensor, src: Any) -> tuple[Tensor, Tensor, Any]:
    """With one dimension where there was none, and ``src`` cut to what ``index`` covers."""
    if input.ndim == 0:
        return input.reshape(1), index.reshape(-1), src.reshape(-1) if isinstance(src, Tensor) else src
    if isinstance(src, Tensor) and index.ndim == src.ndim:
        src = src[tuple(slice(n) for n in index.shape)]
    return input, index, src


@takes_out_as(OutDtype.SAME)
@method()
def scatter(
    input: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: Any = None
) -> Tensor:
    """``input`` with ``src`` (or the number ``value``) written at positions ``index`` along ``dim``.

    Args:
        input, dim, index: as in ``gather``; ``out[index[i][j]][j] = src[i][j]`` for dim 0, and so on.
        src: a tensor at least as large as ``index``, or a number.
        value: the number, by name.
        reduce: "add" or "multiply" to combine with what is there.

    Raises:
        RuntimeError: for another ``reduce``.
    """
    source = value if src is None else src
    if index.numel() == 0:
        return input.clone()
    whole, places, source = _scatter_arguments(input, index, source)
    axis = whole._checked_dim(dim)
    if reduce is not None:
        names = {"add": "sum", "multiply": "prod"}
        if reduce not in names:
            raise RuntimeError(f"reduce argument must be either add or multiply, got {reduce!r}")
        if not isinstance(source, Tensor):
            source = whole.new_full(tuple(places.shape), source)
        return scatter_reduce(whole, axis, places, source, names[reduce]).reshape(tuple(input.shape))
    return _written(whole, _coordinates(axis, places), source).reshape(tuple(input.shape))


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
        RuntimeError: for another ``reduce``.
    """
    if reduce not in ("sum", "mean", "prod", "amax", "amin"):
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce} instead.")
    if index.numel() == 0:
        return input.clone()
    whole, places, source = _scatter_arguments(input, index, src)
    axis = whole._checked_dim(dim)
    if reduce in ("sum", "mean"):
        out = _scattered_sum(whole, axis, places, source, reduce == "mean", include_self)
    else:
        out = _scattered_choice(whole, axis, places, source, reduce, include_self)
    return out.reshape(tuple(input.shape))


def _scattered_sum(x: Tensor, dim: int, index: Tensor, src: Tensor, mean: bool, include_self: bool) -> Tensor:
    start = x if include_self else scatter(x, dim, index, 0)
    total = scatter_add(start, dim, index, src)
    if x.dtype is dtypes.bool_:
        total = total.to(dtypes.bool_)
    if not mean:
        return total
    ones = (x.new_ones if include_self else x.new_zeros)(tuple(x.shape), dtype=dtypes.int64)
    count = scatter_add(ones, dim, index, index.new_ones(tuple(index.shape), dtype=dtypes.int64)).clamp(min=1)
    return total / count.to(x.dtype) if x.is_floating_point() or x.is_complex() else total // count


def _scattered_choice(x: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, include_self: bool) -> Tensor:
    """Products and extremes, one layer of ``src`` after the other: no two elements of a layer meet."""
    neutral = x if include_self else scatter(x, dim, index, _neutral(x.dtype, reduce))
    combine = {"prod": mul, "amax": maximum, "amin": minimum}[reduce]
    out = neutral
    for i in range(index.shape[dim]):
        layer, values = index.narrow(dim, i, 1), src.narrow(dim, i, 1)
        out = scatter(out, dim, layer, combine(gather(out, dim, layer), values))
    if reduce == "prod" or not out.requires_grad:
        return out
    return _shared_extreme(out.detach(), neutral, x, dim, index, src, include_self)


def _shared_extreme(
    out: Tensor, start: Tensor, x: Tensor, dim: int, index: Tensor, src: Tensor, include_self: bool
) -> Tensor:
    """The extremes once more as means of the elements equal to them, so that those share the gradient."""
    touched = scatter(zeros_like(x, dtype=dtypes.bool_), dim, index, True)
    own = (x == out) & (touched.logical_not() | include_self)
    chosen = src == gather(out, dim, index)
    count = scatter_add(own.to(x.dtype), dim, index, chosen.to(x.dtype))
    total = scatter_add(where(own, start, 0.0), dim, index, where(chosen, src, 0.0))
    return total / count


def _neutral(dtype: dtypes.dtype, reduce: str) -> Any:
    if reduce == "prod":
        return 1
    if dtype is dtypes.bool_:
        return reduce == "amin"
    if dtype.is_floating_point:
        return float("-inf") if reduce == "amax" else float("inf")
    bits, signed = 8 * dtype.numpy.itemsize, dtype.numpy.kind == "i"
    if reduce == "amax":
        return -(2 ** (bits - 1)) if signed else 0
    return 2 ** (bits - signed) - 1


@takes_out_as(OutDtype.SAME)
@method()
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements of ``input`` where ``mask`` holds, as a vector; both are broadcast to one shape."""
    if mask.dtype is not dtypes.bool_:
        raise RuntimeError(f"masked_select: expected BoolTensor for mask, got {mask.dtype}")
    wide, chosen = broadcast_tensors(input, mask)
    return wide[chosen].reshape(-1)


@method()
def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """``input`` with the elements of ``source``, in order, where ``mask`` holds.

    Raises:
        RuntimeError: for another dtype, or fewer elements than places.
    """
    _same_dtype("masked_scatter", input, source)
    wide, chosen = broadcast_tensors(input, mask)
    n = int(chosen.sum())
    if source.numel() < n:
        raise RuntimeError(f"masked_scatter: mask chooses {n} elements, and source has {source.numel()}")
    return _written(wide, chosen, source.reshape(-1)[:n])


@takes_out_as(OutDtype.SAME)
@method()
def take(input: Tensor, index: Tensor) -> Tensor:
    """The elements at positions ``index`` of the flattened tensor."""
    return input.reshape(-1)[index.reshape(-1)].reshape(tuple(index.shape))


@method()
def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """``input`` with ``source`` written (or added) at positions ``index`` of the flattened tensor."""
    _same_dtype("put_", input, source)
    places = index.reshape(-1)
    flat = index_put(
        input.reshape(-1), (where(places < 0, places + input.numel(), places),), source.reshape(-1), accumulate
    )
    return flat.reshape(tuple(input.shape))


@takes_out_as(OutDtype.SAME)
@method()
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """The elements at ``indices`` along ``dim`` (of the flattened tensor without), broadcast in the other dimensions.

    Raises:
        RuntimeError: for different numbers of dimensions.
    """
    if dim is None:
        return take(input, indices.reshape(-1))
    if input.ndim != indices.ndim:
        raise RuntimeError(
            "torch.take_along_dim(): input and indices should have the same number of dimensions, but got "
            f"{input.ndim} dimensions for input, and {indices.ndim} dimensions for indices"
        )
    axis = input._checked_dim(dim)
    n = input.shape[axis]
    shapes = ((*x.shape[:axis], 1, *x.shape[axis + 1 :]) for x in (input, indices))
    lengths = broadcast_shapes("take_along_dim", *shapes)
    wide = input.expand((*lengths[:axis], n, *lengths[axis + 1 :]))
    places = indices.expand((*lengths[:axis], indices.shape[axis], *lengths[axis + 1 :]))
    return gather(wide, axis, where(places < 0, places + n, places))


@method()
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy of ``input`` with ``src`` at ``index`` along ``dim``."""
    axis = input._checked_dim(dim)
    return apply(view_scatter, (input, src.to(input.dtype)), _region((_ALL,) * axis + (int(index),)))


@takes_out_as(OutDtype.SAME)
@method()
def slice_scatter(
    input: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """A copy of ``input`` with ``src`` in the slice start:end:step along ``dim``."""
    axis = input._checked_dim(dim)
    region = _region((_ALL,) * axis + (slice(start, end, step),))
    shape = select_op.infer(input._data, index=region["recipe"][0][1]["index"]).shape
    return apply(view_scatter, (input, src.to(input.dtype).expand(shape)), region)


def _region(index: tuple[Any, ...]) -> dict[str, Any]:
    return {"recipe": ((select_op, {"index": index}),)}


for _function in (index_add, index_copy, index_fill, index_put, scatter, scatter_reduce, masked_scatter, put):
    method(f"{_function.__name__}_")(inplace(_function))
method("scatter_add_")(inplace(scatter_add))
