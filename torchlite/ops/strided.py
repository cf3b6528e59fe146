"""Views by strides: any regular pattern of the elements of a tensor's memory.

What a tensor was computed from is known for the tensor itself, not for the rest of its memory. So the operator is told
the tensor's own layout, and where it runs on an array that lies otherwise (in a gradient, say), lays that out first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from torchlite import backends
from torchlite._tensor import Tensor, method, wrap
from torchlite.backends.memory import Layout, dense_strides, laid_out, layout, memory, span, strided
from torchlite.dispatch import apply
from torchlite.ir import Aval, Op, Sample, Shape, register
from torchlite.ops.indexing import sum_at
from torchlite.ops.mutation import Recipe


def _run_as_strided(_xp: Any, x: Any, *, shape: Shape, seen: Layout, own: Layout) -> Any:
    if layout(x) != own:
        x = laid_out(x, own, seen[1] + span(shape, seen[0]))
    return strided(memory(x), x.dtype, shape, seen)


def _as_strided_vjp(g: Tensor, _out: Any, _x: Any, shape: Shape, seen: Layout, own: Layout) -> Tensor:
    """Cotangents are added up in memory, where the input reads its own; elements of it in one place share theirs."""
    inside, outside = _positions(tuple(_x.shape), own), _positions(shape, seen)
    numel = 1 + int(max(inside.max(initial=0), outside.max(initial=0)))
    places = _on_device(inside, g)
    total = sum_at(g.reshape(-1), 0, _on_device(outside.reshape(-1), g), (numel,))[places]
    counts = np.bincount(inside.reshape(-1), minlength=1)[inside]
    if counts.max(initial=1) == 1:
        return total
    return total / _on_device(counts, g)


def _positions(shape: Shape, layout: Layout) -> np.ndarray[Any, Any]:
    """Where in memory each element of an array lies."""
    strides, offset = layout
    grid = np.full(shape, offset, np.int64)
    for d, (n, step) in enumerate(zip(shape, strides, strict=True)):
        grid += (np.arange(n) * step).reshape([-1 if i == d else 1 for i in range(len(shape))])
    return grid


def _on_device(array: np.ndarray[Any, Any], like: Tensor) -> Tensor:
    placed: Tensor = wrap(backends.to_device(array, like.device))
    return placed


as_strided_op: Op = register(
    Op(
        "as_strided",
        "view",
        run=_run_as_strided,
        infer=lambda x, *, shape, seen, own: Aval(shape, x.dtype, x.device),  # noqa: ARG005
        vjp=(_as_strided_vjp,),
        samples=lambda rng: [
            Sample((rng.normal(size=(3, 4)),), {"shape": (2, 3), "seen": ((1, 2), 1), "own": ((4, 1), 0)}),
            Sample((rng.normal(size=(4,)),), {"shape": (3,), "seen": ((0,), 2), "own": ((2,), 1)}),
        ],
        doc="The elements that lie in the memory of x as the layout ``seen`` says; ``own`` is the layout of x.",
    )
)


def _layout(x: Tensor) -> Layout:
    return (dense_strides(x.shape), 0) if isinstance(x._data, Aval) else layout(x._data)


@method()
def storage_offset(self: Tensor) -> int:
    """How many elements lie before the first one of this tensor in its storage."""
    return _layout(self)[1]


@method()
def as_strided(input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Tensor:
    """A view of the elements at ``storage_offset`` + Σ iₖ · strideₖ of the storage of ``input``.

    Args:
        input: the tensor; where it has a history, elements of its storage beside it get no gradient.
        size: lengths of the dimensions.
        stride: how many elements apart neighbours are along each dimension.
        storage_offset: the first element; that of ``input`` when not given.

    Raises:
        RuntimeError: for another number of strides than sizes, negative numbers, and a view that leaves the storage.
    """
    recipe = as_strided_recipe(input, size, stride, storage_offset)
    out: Tensor = apply(as_strided_op, (input,), recipe[0][1])
    if input._base is not None:  # offsets count from the start of the storage, so the views in between do not matter
        out._recipe = ((as_strided_op, {**recipe[0][1], "own": _layout(input._base)}),)
    return out


def as_strided_recipe(x: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None) -> Recipe:
    """`as_strided` of ``x`` as a recipe for views, once it is known to stay inside the storage."""
    if not isinstance(size, Sequence) or not isinstance(stride, Sequence):
        raise TypeError(f"as_strided(): size and stride must be tuples of ints, got {size!r} and {stride!r}")
    shape, strides, own = tuple(map(int, size)), tuple(map(int, stride)), _layout(x)
    offset = own[1] if storage_offset is None else int(storage_offset)
    _check_region(x, shape, strides, offset)
    return ((as_strided_op, {"shape": shape, "seen": (strides, offset), "own": own}),)


def _check_region(x: Tensor, shape: Shape, strides: Shape, offset: int) -> None:
    if len(shape) != len(strides):
        raise RuntimeError(
            f"as_strided: mismatch in length of strides and shape: got {len(strides)} strides for {list(shape)}"
        )
    if min(shape, default=0) < 0:
        raise RuntimeError(f"as_strided: sizes must not be negative, got {list(shape)}")
    if min(strides, default=0) < 0:
        raise RuntimeError(
            f"as_strided: Negative strides are not supported at the moment, got strides: {list(strides)}"
        )
    if offset < 0:
        raise RuntimeError(f"as_strided: invalid storage offset {offset}")
    if isinstance(x._data, Aval) or 0 in shape:
        return
    needed, room = offset + span(shape, strides), memory(x._data).size // x.itemsize
    if needed > room:
        raise RuntimeError(
            f"as_strided: sizes {list(shape)}, strides {list(strides)} and storage offset {offset} require a storage of "
            f"{needed} elements, and this one has {room}"
        )
