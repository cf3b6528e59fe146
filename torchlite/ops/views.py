"""Views: other shapes, orders and regions of the same memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from torchlite import backends, dtypes
from torchlite._tensor import Tensor, method
from torchlite.dispatch import apply, apply_view
from torchlite.integers import integer, takes_integers
from torchlite.ir import Aval, Op, Sample, Shape, register
from torchlite.ops.construct import dims_of, is_empty
from torchlite.ops.mutation import Recipe, embed_view
from torchlite.ops.storage import view_as_dtype


def _run_view(xp: Any, x: Any, *, shape: Shape) -> Any:
    out = backends.reshape_view(xp, x, shape)
    if out is None:
        raise RuntimeError(
            f"view size {list(shape)} is not compatible with input tensor's size {list(x.shape)} and stride (at least one "
            "dimension spans across two contiguous subspaces). Use .reshape(...) instead."
        )
    return out


def _infer_view(x: Aval, *, shape: Shape) -> Aval:
    if Aval(shape, x.dtype).size != x.size:
        raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {x.size} (shape {list(x.shape)})")
    return Aval(shape, x.dtype, x.device)


view_op: Op = register(
    Op(
        "view",
        "view",
        run=_run_view,
        infer=_infer_view,
        vjp=(lambda g, _out, _x, shape: g.reshape(_x.shape),),  # noqa: ARG005
        onnx="Reshape",
        samples=lambda rng: [
            Sample((rng.normal(size=(2, 6)),), {"shape": (3, 4)}),
            Sample((rng.normal(size=()),), {"shape": (1, 1)}),
            Sample((rng.normal(size=(0, 3)),), {"shape": (3, 0)}),
        ],
        doc="The same elements in row-major order under another shape, sharing memory.",
    )
)
permute_op: Op = register(
    Op(
        "permute",
        "view",
        run=lambda xp, x, *, dims: x.transpose(dims),  # noqa: ARG005
        infer=lambda x, *, dims: Aval(tuple(x.shape[d] for d in dims), x.dtype, x.device),
        vjp=(lambda g, _out, _x, dims: g.permute(sorted(range(len(dims)), key=dims.__getitem__)),),
        onnx="Transpose",
        samples=lambda rng: [Sample((rng.normal(size=(2, 3, 4)),), {"dims": (2, 0, 1)})],
        doc="The dimensions in another order.",
    )
)


def _infer_expand(x: Aval, *, shape: Shape) -> Aval:
    lead = len(shape) - len(x.shape)
    if lead < 0 or any(n not in (1, shape[lead + i]) for i, n in enumerate(x.shape)):
        raise RuntimeError(
            f"expand: a tensor of shape {list(x.shape)} can't be expanded to {list(shape)}: existing lengths must be 1 or equal"
        )
    return Aval(shape, x.dtype, x.device)


expand_op: Op = register(
    Op(
        "expand",
        "view",
        run=lambda xp, x, *, shape: backends.broadcast_view(xp, x, shape),
        infer=_infer_expand,
        vjp=(lambda g, _out, _x, shape: g,),  # noqa: ARG005 - backward sums over broadcast dimensions everywhere
        onnx="Expand",
        samples=lambda rng: [
            Sample((rng.normal(size=(3, 1)),), {"shape": (2, 3, 4)}),
            Sample((rng.normal(size=()),), {"shape": (2,)}),
        ],
        doc="Dimensions of length 1 repeated without copying.",
    )
)


def _run_select(_xp: Any, x: Any, *, index: tuple[Any, ...]) -> Any:
    return x[(*index, ...)]


def _infer_select(x: Aval, *, index: tuple[Any, ...]) -> Aval:
    shape = np.broadcast_to(np.empty((), bool), x.shape)[(*index, ...)].shape
    return Aval(shape, x.dtype, x.device)


select_op: Op = register(
    Op(
        "select",
        "view",
        run=_run_select,
        infer=_infer_select,
        vjp=(
            lambda g, _out, _x, index: apply(
                embed_view, (g,), {"recipe": ((select_op, {"index": index}),), "shape": _x.shape}
            ),
        ),
        onnx="Slice",
        samples=lambda rng: [
            Sample((rng.normal(size=(4, 5)),), {"index": (slice(1, 4, 2), 3)}),
            Sample((rng.normal(size=(4, 5)),), {"index": (None, -1, slice(None))}),
            Sample((rng.normal(size=3),), {"index": (1,)}),
        ],
        doc="A region chosen by integers, slices and new dimensions.",
    )
)


def _run_diagonal(_xp: Any, x: Any, *, offset: int, dim1: int, dim2: int) -> Any:
    out = x.diagonal(offset, dim1, dim2)
    if isinstance(out, np.ndarray) and x.flags.writeable:  # NumPy hands diagonals out read-only
        out.flags.writeable = True
    return out


def _infer_diagonal(x: Aval, *, offset: int, dim1: int, dim2: int) -> Aval:
    rows, columns = x.shape[dim1], x.shape[dim2]
    length = max(min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns), 0)
    kept = tuple(n for d, n in enumerate(x.shape) if d not in (dim1, dim2))
    return Aval((*kept, length), x.dtype, x.device)


diagonal_op: Op = register(
    Op(
        "diagonal",
        "view",
        run=_run_diagonal,
        infer=_infer_diagonal,
        vjp=(
            lambda g, _out, _x, **where: apply(
                embed_view, (g,), {"recipe": ((diagonal_op, where),), "shape": tuple(_x.shape)}
            ),
        ),
        samples=lambda rng: [
            Sample((rng.normal(size=(3, 4)),), {"offset": 1, "dim1": 0, "dim2": 1}),
            Sample((rng.normal(size=(3, 2, 4)),), {"offset": -1, "dim1": 2, "dim2": 0}),
        ],
        doc="The elements whose positions along two dimensions differ by ``offset``, as a last dimension.",
    )
)


def _shape_argument(name: str, x: Tensor, shape: tuple[Any, ...]) -> Shape:
    """``(2, -1)`` or ``((2, -1),)`` with the unknown length filled in."""
    if len(shape) == 1 and not isinstance(shape[0], (int, np.integer, Tensor)):
        shape = tuple(shape[0])
    for n in shape:
        if type(n) is not int or n < 0:
            break
    else:
        return shape
    lengths = [int(n) for n in shape]
    if lengths.count(-1) > 1 or any(n < -1 for n in lengths):
        raise RuntimeError(f"{name}: only one dimension can be inferred and none be negative, got shape {lengths}")
    if -1 in lengths:
        known = 1
        for n in lengths:
            known *= n if n != -1 else 1
        if known == 0 or x.numel() % known:
            raise RuntimeError(f"shape '{lengths}' is invalid for input of size {x.numel()} (shape {list(x.shape)})")
        lengths[lengths.index(-1)] = x.numel() // known
    return tuple(lengths)


@method()
def view(self: Tensor, *shape: Any, dtype: dtypes.dtype | None = None) -> Tensor:
    """The same elements under another shape, sharing memory; one length may be -1.

    ``x.view(dtype)`` is the same memory as elements of another dtype.

    Raises:
        RuntimeError: when the number of elements differs or the strides do not allow it.
    """
    if dtype is not None or (len(shape) == 1 and isinstance(shape[0], dtypes.dtype)):
        return view_as_dtype(self, shape[0] if dtype is None else dtype)
    return apply_view(view_op, self, {"shape": _shape_argument("view", self, shape)})


@method()
def reshape(input: Tensor, *shape: Any) -> Tensor:
    """The same elements under another shape: a view where the strides allow it, a copy otherwise."""
    lengths = _shape_argument("reshape", input, shape)
    data = input._data
    if lengths == data.shape and input._node is None:
        return input
    if (
        not input.is_contiguous()
        and data.size == _size(lengths)
        and backends.reshape_view(backends.array_module(data), data, lengths) is None
    ):
        input = input.contiguous()
    return apply_view(view_op, input, {"shape": lengths})


def _size(shape: Shape) -> int:
    n = 1
    for length in shape:
        n *= length
    return n


@method()
def permute(input: Tensor, *dims: Any) -> Tensor:
    """The dimensions in the order ``dims``."""
    order = dims[0] if len(dims) == 1 and not isinstance(dims[0], (int, np.integer)) else dims
    positions = dims_of("permute", tuple(order), input.ndim) if len(order) else ()
    if len(positions) != input.ndim:
        raise RuntimeError(
            f"permute: {list(order)} names {len(positions)} dimensions of a tensor that has {input.ndim} (shape {list(input.shape)})"
        )
    return apply_view(permute_op, input, {"dims": positions})


@method("transpose", "swapaxes", "swapdims")
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Dimensions ``dim0`` and ``dim1`` exchanged."""
    if input.ndim == 0:
        return permute(input, ())
    order = list(range(input.ndim))
    a, b = input._checked_dim(dim0), input._checked_dim(dim1)
    order[a], order[b] = b, a
    return apply_view(permute_op, input, {"dims": tuple(order)})


@method()
def t(input: Tensor) -> Tensor:
    """The transpose of a matrix; vectors and numbers as they are."""
    ndim = len(input._data.shape)
    if ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {ndim}D")
    return apply_view(permute_op, input, {"dims": (1, 0) if ndim == 2 else tuple(range(ndim))})


@method("movedim", "moveaxis")
def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """Dimensions ``source`` moved to the positions ``destination``; the others keep their order."""
    sources, places = (dims_of("movedim", d, input.ndim) for d in (source, destination))
    if len(sources) != len(places):
        raise RuntimeError(
            f"movedim: Invalid source or destination dims: source ({source}) should contain the same number of dims as "
            f"destination ({destination})"
        )
    rest = iter(d for d in range(input.ndim) if d not in sources)
    order = [sources[places.index(d)] if d in places else next(rest) for d in range(input.ndim)]
    return permute(input, order)


moveaxis, swapaxes, swapdims = movedim, transpose, transpose


@method()
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A view of the diagonal of ``dim1`` and ``dim2``, as the last dimension; ``offset`` > 0 lies above the main one.

    Raises:
        RuntimeError: when both dimensions are the same.
    """
    ((_, params),) = diagonal_recipe(input, offset, dim1, dim2)
    return apply(diagonal_op, (input,), params)


@takes_integers
def diagonal_recipe(x: Tensor, offset: int, dim1: int, dim2: int) -> Recipe:
    """`diagonal` as a recipe for views."""
    first, second = x._checked_dim(dim1), x._checked_dim(dim2)
    if first == second:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return ((diagonal_op, {"offset": offset, "dim1": first, "dim2": second}),)


Tensor.T = property(  # type: ignore[attr-defined]
    lambda self: permute(self, tuple(reversed(range(self.ndim)))), doc="The dimensions in reverse order."
)
Tensor.mT = property(lambda self: transpose(self, -2, -1), doc="Matrices transposed.")  # type: ignore[attr-defined]


@method()
def expand(self: Tensor, *sizes: Any) -> Tensor:
    """Dimensions of length 1 repeated to ``sizes`` without copying; -1 keeps a length."""
    lengths = list(sizes[0] if len(sizes) == 1 and not isinstance(sizes[0], (int, np.integer)) else sizes)
    lead = len(lengths) - self.ndim
    for i, n in enumerate(lengths):
        if n == -1:
            if i < lead:
                raise RuntimeError(
                    f"The expanded size of the tensor (-1) isn't allowed in a leading, non-existing dimension {i}"
                )
            lengths[i] = self._data.shape[i - lead]
    if tuple(lengths) == self._data.shape:
        return self
    return apply_view(expand_op, self, {"shape": tuple(int(n) for n in lengths)})


@method()
def expand_as(self: Tensor, other: Tensor) -> Tensor:
    """``self`` expanded to the shape of ``other``."""
    return expand(self, other.shape)


@method()
def view_as(self: Tensor, other: Tensor) -> Tensor:
    """``self`` viewed under the shape of ``other``."""
    return view(self, other.shape)


@method()
def broadcast_to(input: Tensor, size: Sequence[int]) -> Tensor:
    """``input`` broadcast to ``size``."""
    return expand(input, size)


@method()
def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """Without the dimensions of length 1 (all, or those named by ``dim``)."""
    dims = () if is_empty(dim) else dims_of("squeeze", dim, input.ndim)
    return view(input, [n for i, n in enumerate(input._data.shape) if n != 1 or i not in dims])


@method()
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """With a dimension of length 1 inserted at position ``dim``."""
    (position,) = dims_of("unsqueeze", dim, input.ndim + 1)
    shape = list(input._data.shape)
    shape.insert(position, 1)
    return view(input, shape)


@method()
def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Dimensions ``start_dim`` to ``end_dim`` (inclusive) as one."""
    if input.ndim == 0:
        return reshape(input, 1)
    start, end = input._checked_dim(start_dim), input._checked_dim(end_dim)
    if start > end:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    shape = input._data.shape
    return reshape(input, (*shape[:start], _size(shape[start : end + 1]), *shape[end + 1 :]))


@method()
@takes_integers
def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Dimension ``dim`` as several of lengths ``sizes`` (one may be -1)."""
    position = input._checked_dim(dim)
    shape = input._data.shape
    known = _size(tuple(n for n in sizes if n != -1))
    lengths = tuple(shape[position] // known if n == -1 and known else n for n in sizes)
    return view(input, (*shape[:position], *lengths, *shape[position + 1 :]))


@method()
def select(input: Tensor, dim: int, index: int) -> Tensor:
    """The part of ``input`` at ``index`` along ``dim``, without that dimension."""
    position = input._checked_dim(dim)
    n = input._data.shape[position]
    if not -n <= index < n:
        raise IndexError(
            f"select(): index {index} out of range for tensor of size {list(input.shape)} at dimension {dim}"
        )
    return apply_view(select_op, input, {"index": (slice(None),) * position + (int(index),)})


@method()
def narrow(input: Tensor, dim: int, start: Any, length: int) -> Tensor:
    """``length`` positions from ``start`` (a number or 0-d tensor, which may count from the end) along ``dim``.

    Raises:
        IndexError: for a start outside.
        RuntimeError: for more positions than there are, and a 0-d tensor.
    """
    if input.ndim == 0:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    if length < 0:
        raise RuntimeError(f"narrow(): length must be non-negative, got {length}")
    if isinstance(start, Tensor) and (start.ndim or start._data.dtype.kind not in "iu"):
        raise RuntimeError(f"start must be an 0-dim integral Tensor, got {start.dtype} of shape {list(start.shape)}")
    position = input._checked_dim(dim)
    n = input._data.shape[position]
    start, length = int(start), integer(length)
    if not -n <= start <= n:
        raise IndexError(f"start out of range (expected to be in range of [-{n}, {n}], but got {start})")
    start = start + n if start < 0 else start
    if start + length > n:
        raise RuntimeError(
            f"narrow: start ({start}) + length ({length}) exceeds dimension size ({n}) for dimension {position} of a "
            f"tensor of shape {list(input.shape)}"
        )
    return apply_view(select_op, input, {"index": (slice(None),) * position + (slice(start, start + length),)})


@method()
@takes_integers
def split(tensor: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Parts of one length (the last may be shorter), or of the lengths listed, along ``dim``."""
    n = tensor.shape[tensor._checked_dim(dim)]
    if not isinstance(split_size_or_sections, (int, np.integer)):
        return split_with_sizes(tensor, split_size_or_sections, dim)
    size = split_size_or_sections
    if size <= 0 and n:
        raise RuntimeError(f"split expects split_size be positive, but got split_size={size}")
    return split_with_sizes(tensor, [min(size, n - start) for start in range(0, n, max(size, 1))] or [0], dim)


@method()
@takes_integers
def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Parts of the lengths ``split_sizes`` along ``dim``.

    Raises:
        RuntimeError: for negative lengths, and ones that do not add up to the length of ``dim``.
    """
    n = input.shape[input._checked_dim(dim)]
    if min(split_sizes, default=0) < 0 or sum(split_sizes) != n:
        raise RuntimeError(
            f"split_with_sizes expects split_sizes have only non-negative entries and to sum exactly to {n} (input "
            f"tensor's size at dimension {dim}), but got split_sizes={list(split_sizes)}"
        )
    starts = np.cumsum([0, *split_sizes])
    return tuple(narrow(input, dim, int(a), int(n)) for a, n in zip(starts, split_sizes, strict=False))


@method()
@takes_integers
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most ``chunks`` parts of equal length along ``dim`` (the last may be shorter)."""
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    n = input.shape[input._checked_dim(dim)]
    return split(input, max(1, -(-n // chunks)), dim)


# Not views in PyTorch's eyes, which trusts the caller to write into at most one of them.
unsafe_split, unsafe_chunk = split, chunk
unsafe_split_with_sizes = split_with_sizes
method("unsafe_split")(split)
method("unsafe_chunk")(chunk)
method("unsafe_split_with_sizes")(split_with_sizes)


@method()
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The parts along ``dim``, each without that dimension."""
    return tuple(select(input, dim, i) for i in range(input.shape[input._checked_dim(dim)]))
