"""Pooling by the maximum, and its partial inverse."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torchlite._tensor import Tensor
from torchlite.autocasting import autocasts
from torchlite.dispatch import apply
from torchlite.ir import FLOAT32_ON_CPU
from torchlite.nn.functional.lengths import lengths, pooling_window
from torchlite.ops.gathering import scatter
from torchlite.ops.pooling import flat_positions, max_pool, pick
from torchlite.ops.windows import size_of


def max_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window of (N, C, L) or (C, L); see `max_pool2d`."""
    return _max_pooled(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window.

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size, stride, padding, dilation: an int or (height, width); the stride is the kernel size by default.
        ceil_mode: also count windows that reach beyond the end.
        return_indices: also give where in the flattened plane each element was found.
    """
    return _max_pooled(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window of (N, C, D, H, W) or (C, D, H, W); see `max_pool2d`."""
    return _max_pooled(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def _max_pooled(
    n: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    window = pooling_window(input, f"max_pool{n}d", n, kernel_size, stride, padding, dilation, ceil_mode)
    values, places = apply(max_pool, (input,), {"window": window})
    if not return_indices:
        return values
    return values, pick(flat_positions(size_of(input, window), input), places, window)


def max_pool1d_with_indices(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = True,  # noqa: ARG001 - PyTorch's signature
) -> tuple[Tensor, Tensor]:
    """`max_pool1d` with ``return_indices=True``."""
    return max_pool1d(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices=True)


def max_pool2d_with_indices(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = True,  # noqa: ARG001 - PyTorch's signature
) -> tuple[Tensor, Tensor]:
    """`max_pool2d` with ``return_indices=True``."""
    return max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices=True)


def max_pool3d_with_indices(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = True,  # noqa: ARG001 - PyTorch's signature
) -> tuple[Tensor, Tensor]:
    """`max_pool3d` with ``return_indices=True``."""
    return max_pool3d(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices=True)


@autocasts(FLOAT32_ON_CPU)
def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """The partial inverse of `max_pool1d`; see `max_unpool2d`."""
    return _unpooled(1, input, indices, kernel_size, stride, padding, output_size)


@autocasts(FLOAT32_ON_CPU)
def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Zeros with the elements of ``input`` where `max_pool2d` found them.

    Args:
        input, indices: results of `max_pool2d` with ``return_indices=True``.
        kernel_size, stride, padding: its arguments.
        output_size: the size of its input, where several are possible.

    Raises:
        ValueError: for an ``output_size`` that the pooling could not have had.
        RuntimeError: for indices of another shape or outside the plane.
    """
    return _unpooled(2, input, indices, kernel_size, stride, padding, output_size)


@autocasts(FLOAT32_ON_CPU)
def max_unpool3d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """The partial inverse of `max_pool3d`; see `max_unpool2d`."""
    return _unpooled(3, input, indices, kernel_size, stride, padding, output_size)


def _unpooled(
    n: int,
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    output_size: Sequence[int] | None,
) -> Tensor:
    name = f"max_unpool{n}d"
    if indices._data.dtype != "int64":
        raise RuntimeError(f"{name}: elements in indices should be type int64 but got: {indices.dtype}")
    if indices.shape != input.shape:
        raise RuntimeError(
            f"{name}: Expected shape of indices to be same as that of the input tensor ({list(input.shape)}) but got "
            f"indices tensor with shape: {list(indices.shape)}"
        )
    window = pooling_window(input, name, n, kernel_size, stride, padding)
    size = _unpooled_size(name, input, window, output_size)
    lead = tuple(input.shape[: input.ndim - n])
    flat = (*lead, math.prod(input.shape[len(lead) :]))
    out = scatter(input.new_zeros((*lead, math.prod(size))), -1, indices.reshape(flat), input.reshape(flat))
    return out.reshape((*lead, *size))


def _unpooled_size(name: str, input: Tensor, window: Any, output_size: Sequence[int] | None) -> tuple[int, ...]:
    positions = size_of(input, window)
    default = tuple(
        (m - 1) * s + k - 2 * p
        for m, k, s, p in zip(positions, window.kernel, window.stride, window.padding, strict=True)
    )
    if output_size is None:
        return default
    n = window.ndim
    if len(output_size) not in (n, n + 2):
        raise ValueError(
            f"{name}: output_size should be a sequence containing {n} or {n + 2} elements, but it has a length of "
            f"{len(output_size)}"
        )
    size = lengths(name, "output_size", tuple(output_size[-n:]), n)
    for d, (wanted, usual, s) in enumerate(zip(size, default, window.stride, strict=True)):
        if not usual - s < wanted < usual + s:
            raise ValueError(
                f"{name}: invalid output_size {tuple(output_size)} (dim {d} must be between {usual - s} and {usual + s})"
            )
    return size
