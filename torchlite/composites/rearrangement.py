"""Composites that put the elements of one tensor into another order or into parts."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from torchlite import backends
from torchlite._tensor import Tensor, method, wrap
from torchlite.integers import takes_integers
from torchlite.ops.construct import dims_of
from torchlite.ops.creation import arange
from torchlite.ops.destination import OutDtype, takes_out_as
from torchlite.ops.joining import cat, flip, repeat
from torchlite.ops.views import narrow, reshape, transpose


@method()
def ravel(input: Tensor) -> Tensor:
    """All elements as one dimension."""
    return reshape(input, -1)


@method()
def reshape_as(self: Tensor, other: Tensor) -> Tensor:
    """``self`` under the shape of ``other``."""
    return reshape(self, tuple(other.shape))


@takes_out_as(OutDtype.SAME)
@method()
def narrow_copy(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """`narrow` in memory of its own."""
    if dim >= input.ndim:
        raise RuntimeError(f"narrow_copy(): dimension {dim} does not exist in a tensor of shape {list(input.shape)}")
    return narrow(input, dim, start, length).clone()


@method()
@takes_integers
def roll(input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """The elements moved by ``shifts`` along ``dims``, what leaves at one end coming in at the other.

    Without ``dims`` the flattened tensor is rolled.

    Raises:
        RuntimeError: when there are not as many shifts as dimensions.
        IndexError: for a dimension that does not exist.
    """
    steps = (shifts,) if isinstance(shifts, (int, np.integer)) else tuple(shifts)
    axes = (dims,) if isinstance(dims, (int, np.integer)) else tuple(dims or ())
    if not axes:
        if len(steps) != 1:
            raise RuntimeError(f"shifts and dimensions must align. shifts: {len(steps)}, dims: 0")
        return roll(input.reshape(-1), steps, 0).reshape(tuple(input.shape))
    if len(steps) != len(axes):
        raise RuntimeError(f"shifts and dimensions must align. shifts: {len(steps)}, dims: {len(axes)}")
    out = input.clone()
    for step, axis in zip(steps, axes, strict=True):
        n = out.shape[out._checked_dim(axis)]
        moved = step % n if n else 0
        if moved:
            out = cat([narrow(out, axis, n - moved, moved), narrow(out, axis, 0, n - moved)], axis)
    return out


@method()
def fliplr(input: Tensor) -> Tensor:
    """The columns (dimension 1) in reverse order."""
    if input.ndim < 2:
        raise RuntimeError(f"Input must be >= 2-d, got shape {list(input.shape)}")
    return flip(input, 1)


method("__reversed__")(lambda self: flip(self, 0) if self.ndim else self)


@method()
def flipud(input: Tensor) -> Tensor:
    """The rows (dimension 0) in reverse order."""
    if input.ndim < 1:
        raise RuntimeError("Input must be >= 1-d, got a 0-d tensor")
    return flip(input, 0)


@method()
@takes_integers
def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """The plane of ``dims`` turned by ``k`` times 90 degrees, from the first towards the second."""
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if input.ndim < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {input.ndim}")
    first, second = dims_of("rot90", tuple(dims), input.ndim)
    turns = k % 4
    if turns == 0:
        return input.clone()
    if turns == 2:
        return flip(input, first, second)
    return flip(transpose(input, first, second), first if turns == 1 else second)


@method()
@takes_integers
def tile(input: Tensor, *dims: Any) -> Tensor:
    """The tensor repeated ``dims[i]`` times along dimension i; missing leading counts are 1."""
    counts = tuple(dims[0]) if len(dims) == 1 and not isinstance(dims[0], (int, np.integer)) else dims
    return repeat(input, (1,) * (input.ndim - len(counts)) + counts)


@method()
def repeat_interleave(
    input: Tensor, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None
) -> Tensor:
    """Every element (along ``dim``, or of the flattened tensor) ``repeats`` times, copies side by side.

    Args:
        input: the tensor; alone, it holds counts and the result is each position that many times.
        repeats: a number or a vector with one for each position.
        dim: the dimension to repeat along.
        output_size: the length of the result, which PyTorch needs to spare itself a synchronisation.

    Raises:
        RuntimeError: for negative counts or a vector of another length.
    """
    if repeats is None:
        return repeat_interleave(arange(input.shape[0], device=input.device), input)
    if dim is None:
        return repeat_interleave(input.reshape(-1), repeats, 0, output_size=output_size)
    whole = input.reshape(1) if input.ndim == 0 else input
    (axis,) = dims_of("repeat_interleave", dim, whole.ndim)
    n = whole.shape[axis]
    xp = backends.array_module(input._data)
    counts = repeats._data if isinstance(repeats, Tensor) else xp.asarray(repeats)
    if counts.ndim and counts.size not in (1, n):
        raise RuntimeError(f"repeats must have the same size as input along dim, but got {counts.size} for {n}")
    if counts.size and int(counts.min()) < 0:
        raise RuntimeError("repeats can not be negative")
    positions = xp.repeat(xp.arange(n), xp.broadcast_to(counts.reshape(-1), (n,)))
    if output_size is not None and positions.size != output_size:
        raise RuntimeError(f"repeat_interleave: output_size is {output_size}, and repeats add up to {positions.size}")
    return whole.index_select(axis, wrap(positions))


@method()
@takes_integers
def tensor_split(input: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """So many parts along ``dim``, as equal as can be, or the parts between the positions listed."""
    axis = input._checked_dim(dim)
    n = input.shape[axis]
    wanted = indices_or_sections.tolist() if isinstance(indices_or_sections, Tensor) else indices_or_sections
    if isinstance(wanted, (int, np.integer)):
        if wanted <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {wanted}")
        short, longer = divmod(n, wanted)
        bounds = [i * short + min(i, longer) for i in range(wanted + 1)]
    else:
        bounds = [0, *wanted, n]
    index = (slice(None),) * axis
    return tuple(input[(*index, slice(a, b))] for a, b in pairwise(bounds))


@takes_integers
def _split_evenly(name: str, input: Tensor, indices_or_sections: Any, axis: int) -> tuple[Tensor, ...]:
    if isinstance(indices_or_sections, str):
        raise TypeError(f"{name}(): indices_or_sections must be an int or a list of ints, not {indices_or_sections!r}")
    if isinstance(indices_or_sections, (int, np.integer)) and (
        indices_or_sections <= 0 or input.shape[axis] % indices_or_sections
    ):
        raise RuntimeError(
            f"torch.{name} attempted to split along dimension {axis}, but the size of the dimension "
            f"{input.shape[axis]} is not divisible by the split_size {indices_or_sections}!"
        )
    return tensor_split(input, indices_or_sections, axis)


def _at_least(name: str, input: Tensor, ndim: int) -> None:
    if input.ndim < ndim:
        raise RuntimeError(
            f"torch.{name} requires a tensor with at least {ndim} dimension, but got a tensor with {input.ndim} dimensions!"
        )


@method()
def hsplit(input: Tensor, *indices_or_sections: Any) -> tuple[Tensor, ...]:
    """`tensor_split` along columns (dimension 1, or 0 of a vector), in equal parts where a number is given."""
    _at_least("hsplit", input, 1)
    return _split_evenly("hsplit", input, _places(indices_or_sections), min(1, input.ndim - 1))


@method()
def vsplit(input: Tensor, *indices_or_sections: Any) -> tuple[Tensor, ...]:
    """`tensor_split` along rows (dimension 0), in equal parts where a number is given."""
    _at_least("vsplit", input, 2)
    return _split_evenly("vsplit", input, _places(indices_or_sections), 0)


@method()
def dsplit(input: Tensor, *indices_or_sections: Any) -> tuple[Tensor, ...]:
    """`tensor_split` along depth (dimension 2), in equal parts where a number is given."""
    _at_least("dsplit", input, 3)
    return _split_evenly("dsplit", input, _places(indices_or_sections), 2)


def _places(given: tuple[Any, ...]) -> Any:
    """One argument as it is, several as a list of positions."""
    return given[0] if len(given) == 1 else given


@method()
def sum_to_size(self: Tensor, *size: Any) -> Tensor:
    """Sums over the dimensions along which a tensor of shape ``size`` would be broadcast to this one.

    Raises:
        RuntimeError: when it can't be broadcast to it.
    """
    shape = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], (int, np.integer)) else size
    lead = self.ndim - len(shape)
    if lead < 0 or any(n not in (1, self.shape[lead + d]) for d, n in enumerate(shape)):
        raise RuntimeError(f"size {list(shape)} is not expandable to size {list(self.shape)}.")
    dims = [d for d in range(self.ndim) if d < lead or (shape[d - lead] == 1 and self.shape[d] != 1)]
    return self.sum(dims, keepdim=True).reshape(shape) if dims or not shape else self


@method()
def resize(self: Tensor, *sizes: Any) -> Tensor:
    """The elements in another shape of as many; deprecated: use `reshape`, or `resize_` to change their number.

    Raises:
        RuntimeError: when the number of elements would change.
    """
    warnings.warn("non-inplace resize is deprecated", UserWarning, stacklevel=2)
    shape = tuple(sizes[0]) if len(sizes) == 1 and not isinstance(sizes[0], (int, np.integer)) else sizes
    if math.prod(shape) != self.numel():
        raise RuntimeError(f"resize: requested shape {list(shape)} for a tensor of shape {list(self.shape)}")
    return self.reshape(shape)


@method()
def resize_as(self: Tensor, tensor: Tensor) -> Tensor:
    """The elements in the shape of ``tensor``; see `resize`."""
    return resize(self, tensor.shape)
