"""Composites that read and write elements at positions given by index tensors and masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torchlite import dtypes
from torchlite._tensor import Tensor, method
from torchlite.autocasting import autocasts
from torchlite.composites.assembly import broadcast_tensors
from torchlite.composites.searching import unique
from torchlite.dispatch import apply
from torchlite.ir import Autocast, broadcast_shapes
from torchlite.ops.construct import converted
from torchlite.ops.creation import arange
from torchlite.ops.destination import OutDtype, takes_out_as
from torchlite.ops.gathering import check_bounds, gather, reduce_into, vector_of_places
from torchlite.ops.indexing import add_at, number_for, setitem, spec_along
from torchlite.ops.mutation import Recipe, inplace, region_shape, view_scatter
from torchlite.ops.strided import as_strided_recipe
from torchlite.ops.views import diagonal_recipe, select_op

_ALL = slice(None)
_LONG = (dtypes.int64,)


def _written(input: Tensor, key: Any, value: Any) -> Tensor:
    out = input.clone()
    setitem(out, key, value)
    return out


def _same_dtype(name: str, input: Tensor, source: Tensor) -> None:
    if input.dtype is not source.dtype:
        raise RuntimeError(
            f"{name}(): self and source expected to have the same dtype, got {input.dtype} and {source.dtype}"
        )


def _fitting(name: str, input: Tensor, axis: int, places: Tensor, source: Tensor) -> Tensor:
    """``source`` with one dimension at least, once it has a part for each of ``places``."""
    _same_dtype(name, input, source)
    n = source.shape[axis] if axis < source.ndim else 1
    if places.numel() != n:
        raise RuntimeError(
            f"{name}(): Number of indices ({places.numel()}) should be equal to source.size(dim): ({n}), for dim: {axis}"
        )
    if source.ndim != input.ndim or any(
        a != b for d, (a, b) in enumerate(zip(source.shape, input.shape, strict=True)) if d != axis
    ):
        raise RuntimeError(
            f"{name}(): source tensor shape must match self tensor shape, excluding the specified dimension. "
            f"Got self.shape = {list(input.shape)} source.shape = {list(source.shape)}"
        )
    return source if source.ndim else source.reshape(1)


@takes_out_as(OutDtype.SAME)
@method()
def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """``input`` with ``alpha`` · the parts of ``source`` added at the positions ``index`` along ``dim``.

    Raises:
        IndexError: for an index that is no vector.
        RuntimeError: for an index of another dtype or that points outside, and a source that does not fit.
    """
    outside = RuntimeError if input.ndim > 1 else IndexError
    x, axis, places = vector_of_places("index_add_", input, dim, index, error=outside)
    parts = _fitting("index_add_", input, axis, places, source)
    if alpha != 1:
        parts = parts * converted(alpha, parts.dtype, parts.device)
    return add_at(x, spec_along(axis), [places], parts).reshape(input.shape)


@takes_out_as(OutDtype.SAME)
@method()
@autocasts(Autocast(cpu="widest"))
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """``input`` with the parts at the positions ``index`` along ``dim`` replaced by those of ``source``.

    Raises:
        IndexError: for an index that points outside, or has not as many positions as ``source`` has parts.
        RuntimeError: for an index that is no int64 tensor, and parts of another dtype or shape.
    """
    x, axis, places = vector_of_places("index_copy_", input, dim, index, allowed=_LONG)
    _same_dtype("index_copy_", input, source)
    if input.ndim and source.ndim and input.ndim != source.ndim:
        raise IndexError(
            "index_copy_(): When source and destination are not scalars, their dimensionality must match. "
            f"Source dimensionality ({source.ndim}), destination dimensionality ({input.ndim})"
        )
    parts = source if source.ndim else source.reshape(1)
    n = parts.shape[axis] if axis < parts.ndim else 1
    if places.numel() != n:
        raise IndexError(
            f"index_copy_(): Number of indices ({places.numel()}) should be equal to source.size(dim) ({n})"
        )
    if (*parts.shape[:axis], *parts.shape[axis + 1 :]) != (*x.shape[:axis], *x.shape[axis + 1 :]):
        raise RuntimeError(
            "index_copy_(): Source/destination tensor must have same slice shapes except at dimension "
            f"{axis}, got {list(source.shape)} and {list(input.shape)}"
        )
    return _written(x, (*(_ALL,) * axis, places), parts).reshape(input.shape)


@method()
def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """``input`` with the parts at the positions ``index`` along ``dim`` set to a number; positions may be negative.

    Raises:
        IndexError: for an index that is no int64 tensor or points outside.
        RuntimeError: for an index that is no vector, and a value that the dtype can't hold.
    """
    if index.dtype is not dtypes.int64:
        raise IndexError(f"index_fill_(): Expected dtype int64 for index, got {index.dtype}")
    if index.ndim > 1:
        raise RuntimeError(f"index_fill_(): Index has to be a vector/scalar, got shape {list(index.shape)}")
    x, axis, places = vector_of_places("index_fill_", input, dim, index, lowest=None)
    value = number_for("index_fill_", input, value)
    return _written(x, (*(_ALL,) * axis, unique(places)), value).reshape(input.shape)


@takes_out_as(OutDtype.SAME)
@method()
def index_reduce(
    input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """The parts of ``source`` reduced into ``input`` at the positions ``index`` along ``dim``.

    Args:
        input, dim, index, source: as in `index_add`.
        reduce: "prod", "mean", "amax" or "amin".
        include_self: whether what stands in ``input`` takes part where something is written.

    Raises:
        IndexError: for an index that is no vector or points outside.
        RuntimeError: for another ``reduce``, an index of another dtype, and a source that does not fit.
    """
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}.")
    x, axis, places = vector_of_places("index_reduce_", input, dim, index)
    parts = _fitting("index_reduce_", input, axis, places, source)
    if parts.numel() == 0:
        return input.clone()
    everywhere = places.reshape([-1 if d == axis else 1 for d in range(x.ndim)]).expand(parts.shape)
    return reduce_into(x, axis, everywhere, parts, reduce, include_self).reshape(input.shape)


@method()
@autocasts(Autocast(cuda="widest"))
def index_put(input: Tensor, indices: Sequence[Tensor], values: Tensor, accumulate: bool = False) -> Tensor:
    """``input`` with ``input[indices]`` replaced by ``values``, or with ``values`` added there.

    With ``accumulate`` an element that is named repeatedly receives every addition.

    Raises:
        TypeError: for indices or values that are no tensors.
        IndexError: for indices that do not fit or point outside.
        RuntimeError: for values of another dtype, or a shape that can't be broadcast.
    """
    for what, value in (("values", values), *(("indices", i) for i in indices)):
        if not isinstance(value, Tensor):
            raise TypeError(f"index_put(): argument '{what}' must be tensors, got {type(value).__name__}")
    if values.dtype is not input.dtype:
        raise RuntimeError(
            f"Index put requires the source and destination dtypes match, got {input.dtype} for the destination and "
            f"{values.dtype} for the source."
        )
    if not accumulate:
        return _written(input, tuple(indices), values)
    places = arange(input.numel(), device=input.device).reshape(input.shape)[tuple(indices)]
    added = add_at(input.reshape(-1), spec_along(0), [places.reshape(-1)], values.expand(places.shape).reshape(-1))
    return added.reshape(input.shape)


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
        RuntimeError: for a mask that is not bool, another dtype, or fewer elements than places.
    """
    if mask.dtype is not dtypes.bool_:
        raise RuntimeError(f"masked_scatter: expected BoolTensor for mask, got {mask.dtype}")
    _same_dtype("masked_scatter", input, source)
    wide, chosen = broadcast_tensors(input, mask)
    n = int(chosen.sum())
    if source.numel() < n:
        raise RuntimeError(f"masked_scatter: mask chooses {n} elements, and source has {source.numel()}")
    return _written(wide, chosen, source.reshape(-1)[:n])


def _flat_places(name: str, input: Tensor, index: Tensor) -> Tensor:
    """Positions in the flattened ``input``, which may count from the end, as a vector."""
    if index.dtype is not dtypes.int64:
        raise RuntimeError(f"{name}(): Expected a long tensor for index, but got {index.dtype}")
    if input.numel() == 0 and index.numel():
        raise IndexError(f"{name}(): the tensor is empty, and index has {index.numel()} positions")
    check_bounds(index, 0, input.numel(), IndexError, lowest=-input.numel())
    return index.reshape(-1)


@takes_out_as(OutDtype.SAME)
@method()
def take(input: Tensor, index: Tensor) -> Tensor:
    """The elements at positions ``index`` (which may be negative) of the flattened tensor.

    Raises:
        IndexError: for a position outside.
        RuntimeError: for an index that is no int64 tensor.
    """
    places = _flat_places("take", input, index)
    return input.reshape(-1)[places].reshape(index.shape)


@method()
def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """``input`` with ``source`` written (or added) at positions ``index`` of the flattened tensor.

    Raises:
        IndexError: for a position outside, or another number of elements than positions.
        RuntimeError: for an index that is no int64 tensor, and a source of another dtype.
    """
    places = _flat_places("put_", input, index)
    _same_dtype("put_", input, source)
    if source.numel() != places.numel():
        raise IndexError(
            "put_(): Expected source and index to have the same number of elements, but got "
            f"source.numel() = {source.numel()}, index.numel() = {places.numel()}"
        )
    return index_put(input.reshape(-1), (places,), source.reshape(-1), accumulate).reshape(input.shape)


@takes_out_as(OutDtype.SAME)
@method()
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """The elements at ``indices`` along ``dim`` (of the flattened tensor without), broadcast in the other dimensions.

    Raises:
        RuntimeError: for different numbers of dimensions, and indices that are no int64 tensor.
    """
    if indices.dtype is not dtypes.int64:
        raise RuntimeError(f"torch.take_along_dim(): dtype of indices should be Long but got {indices.dtype}")
    if dim is None:
        return gather(input.reshape(-1), 0, indices.reshape(-1))
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
    return gather(wide, axis, places % n)


def _scattered(input: Tensor, src: Tensor, recipe: Recipe) -> Tensor:
    """A copy of ``input`` with ``src`` where the view ``recipe`` looks."""
    shape = region_shape(input, recipe)
    if tuple(src.shape) != shape:
        raise RuntimeError(
            "expected src to have a size equal to the slice of self. "
            f"src size = {list(src.shape)}, slice size = {list(shape)}"
        )
    return apply(view_scatter, (input, src.to(input.dtype)), {"recipe": recipe})


@takes_out_as(OutDtype.SAME)
@method()
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy of ``input`` with ``src`` at ``index`` along ``dim``."""
    axis = input._checked_dim(dim)
    n = input.shape[axis]
    if not -n <= index < n:
        raise IndexError(
            f"select(): index {index} out of range for tensor of size {list(input.shape)} at dimension {dim}"
        )
    return _scattered(input, src, _region((_ALL,) * axis + (int(index),)))


@takes_out_as(OutDtype.SAME)
@method()
def slice_scatter(
    input: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """A copy of ``input`` with ``src`` in the slice start:end:step along ``dim``."""
    if step <= 0:
        raise RuntimeError(f"slice_scatter(): slice step must be positive, got {step}")
    return _scattered(input, src, _region((_ALL,) * input._checked_dim(dim) + (slice(start, end, step),)))


@takes_out_as(OutDtype.SAME)
@method()
def diagonal_scatter(input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A copy of ``input`` with ``src`` on the diagonal of ``dim1`` and ``dim2``."""
    return _scattered(input, src, diagonal_recipe(input, offset, dim1, dim2))


@takes_out_as(OutDtype.SAME)
@method()
def as_strided_scatter(
    input: Tensor, src: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """A copy of ``input`` with ``src`` where ``as_strided`` looks."""
    return _scattered(input, src, as_strided_recipe(input, size, stride, storage_offset))


def _region(index: tuple[Any, ...]) -> Recipe:
    return ((select_op, {"index": index}),)


for _function in (index_add, index_copy, index_fill, index_put, index_reduce, masked_scatter, put):
    method(f"{_function.__name__}_")(inplace(_function))
