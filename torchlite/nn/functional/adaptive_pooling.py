"""Pooling over a grid of a given size, whatever the size of the input.

Region i of a length n goes from ⌊i·n/out⌋ to ⌈(i+1)·n/out⌉.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.autocasting import autocasts
from torchlite.dispatch import apply
from torchlite.ir import FLOAT32_ON_CPU
from torchlite.nn.functional.lengths import lengths
from torchlite.ops.pooling import flat_positions, max_pool, pick, sum_windows
from torchlite.ops.resampling import Taps, resample
from torchlite.ops.windows import Lengths, Window


def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """Means over ``output_size`` regions that cover (N, C, L) or (C, L)."""
    return _averaged(1, input, output_size)


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Means over a grid of regions that covers (N, C, H, W) or (C, H, W).

    Args:
        input: see above.
        output_size: an int or (height, width); None keeps a length.
    """
    return _averaged(2, input, output_size)


@autocasts(FLOAT32_ON_CPU)
def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """Means over a grid of regions that covers (N, C, D, H, W) or (C, D, H, W)."""
    return _averaged(3, input, output_size)


def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The largest elements of ``output_size`` regions that cover (N, C, L) or (C, L)."""
    return _maximal(1, input, output_size, return_indices)


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The largest elements over a grid of regions that covers (N, C, H, W) or (C, H, W).

    Args:
        input: see above.
        output_size: an int or (height, width); None keeps a length.
        return_indices: also give where in the flattened plane each element was found.
    """
    return _maximal(2, input, output_size, return_indices)


@autocasts(FLOAT32_ON_CPU)
def adaptive_max_pool3d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The largest elements over a grid of regions that covers (N, C, D, H, W) or (C, D, H, W)."""
    return _maximal(3, input, output_size, return_indices)


def adaptive_max_pool1d_with_indices(
    input: Tensor,
    output_size: Any,
    return_indices: bool = True,  # noqa: ARG001 - PyTorch's signature
) -> tuple[Tensor, Tensor]:
    """`adaptive_max_pool1d` with ``return_indices=True``."""
    return adaptive_max_pool1d(input, output_size, return_indices=True)


def adaptive_max_pool2d_with_indices(
    input: Tensor,
    output_size: Any,
    return_indices: bool = True,  # noqa: ARG001 - PyTorch's signature
) -> tuple[Tensor, Tensor]:
    """`adaptive_max_pool2d` with ``return_indices=True``."""
    return adaptive_max_pool2d(input, output_size, return_indices=True)


@autocasts(FLOAT32_ON_CPU)
def adaptive_max_pool3d_with_indices(
    input: Tensor,
    output_size: Any,
    return_indices: bool = True,  # noqa: ARG001 - PyTorch's signature
) -> tuple[Tensor, Tensor]:
    """`adaptive_max_pool3d` with ``return_indices=True``."""
    return adaptive_max_pool3d(input, output_size, return_indices=True)


def _wanted(name: str, n: int, input: Tensor, output_size: Any) -> Lengths:
    """The size of the result.

    Raises:
        ValueError: for an input of fewer dimensions than the size has.
        RuntimeError: for a size of another length, or negative.
    """
    if isinstance(output_size, Sequence):
        if len(output_size) != n:
            raise RuntimeError(f"{name}: output_size must be {n} ints, got {tuple(output_size)}")
        if n > 1 and input.ndim <= n:
            raise ValueError(f"{name}: Input dimension should be at least {n + 1}, got shape {list(input.shape)}")
    if input.ndim not in (n + 1, n + 2):
        raise RuntimeError(f"{name}: Expected {n + 1}D or {n + 2}D tensor, but got shape {list(input.shape)}")
    size = tuple(input.shape[input.ndim - n :])
    if 0 in size:
        raise RuntimeError(
            f"{name}: Expected input to have non-zero size for non-batch dimensions, but got shape {list(input.shape)}"
        )
    given = output_size if isinstance(output_size, Sequence) else (output_size,) * n
    wanted = lengths(name, "output_size", tuple(m if w is None else w for w, m in zip(given, size, strict=True)), n)
    if min(wanted) < 0:
        raise RuntimeError(
            f"{name}: elements of output_size must be greater than or equal to 0, but got {list(wanted)}"
        )
    return wanted


def _empty(input: Tensor, wanted: Lengths) -> Tensor:
    """A result without elements, with the history of ``input``."""
    lead = input.shape[: input.ndim - len(wanted)]
    return input.reshape(-1)[:0].reshape((*lead, *wanted))


def _averaged(n: int, input: Tensor, output_size: Any) -> Tensor:
    wanted = _wanted(f"adaptive_avg_pool{n}d", n, input, output_size)
    whole = [axis for axis, w in zip(range(-n, 0), wanted, strict=True) if w == 1]
    out = input.mean(whole, keepdim=True) if whole else input
    if 0 in wanted:
        return _empty(out, wanted)
    size = out.shape[out.ndim - n :]
    kernel = tuple(m // w if m % w == 0 else 1 for m, w in zip(size, wanted, strict=True))
    if any(k > 1 for k in kernel):
        out = apply(sum_windows, (out,), {"window": Window.of(kernel, kernel)}) / math.prod(kernel)
    for axis, w in enumerate(wanted, out.ndim - n):
        if out.shape[axis] != w:
            out = resample(out, axis, _region_means(out.shape[axis], w))
    return out if out is not input else input.clone()


def _region_means(n: int, count: int) -> Taps:
    table = _elements(n, count).T
    counted = np.diff(table, axis=0, prepend=-1) > 0
    return Taps(n, table, counted / counted.sum(0))


def _maximal(n: int, input: Tensor, output_size: Any, return_indices: bool) -> Any:
    wanted = _wanted(f"adaptive_max_pool{n}d", n, input, output_size)
    size = tuple(input.shape[input.ndim - n :])
    if 0 in wanted:
        empty = _empty(input, wanted)
        return (empty, empty.to(dtypes.int64)) if return_indices else empty
    tables = [_elements(m, w) for m, w in zip(size, wanted, strict=True)]
    kernel = tuple(table.shape[1] for table in tables)
    window = Window.of(kernel, kernel)
    values, places = apply(max_pool, (_regrouped(input, tables),), {"window": window})
    if not return_indices:
        return values
    return values, pick(_regrouped(flat_positions(size, input), tables), places, window)


def _elements(n: int, count: int) -> Any:
    """The elements of every region, (regions, longest); shorter regions repeat their last one."""
    at = np.arange(count)
    starts, ends = at * n // count, -(-(at + 1) * n // count)
    within = np.arange((ends - starts).max())
    return np.minimum(starts[:, None] + within, ends[:, None] - 1)


def _regrouped(x: Tensor, tables: Sequence[Any]) -> Tensor:
    """``x`` with the elements of every region side by side, so that no two regions overlap."""
    for axis, table in zip(range(-len(tables), 0), tables, strict=True):
        if table.size != x.shape[axis]:
            x = resample(x, x.ndim + axis, Taps(x.shape[axis], table.reshape(1, -1), None))
    return x
