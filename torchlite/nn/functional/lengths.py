"""Arguments that give one number for all spatial dimensions, or one for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from torchlite._tensor import Tensor
from torchlite.ops.windows import Lengths, Window


def lengths(name: str, argument: str, value: Any, n: int) -> Lengths:
    """``value`` as ``n`` ints; one int stands for all of them.

    Raises:
        TypeError: for something else than ints.
        RuntimeError: for another number of them.
    """
    if isinstance(value, int | np.integer):
        return (int(value),) * n
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise TypeError(
            f"{name}(): argument '{argument}' must be an int or a tuple of ints, not {type(value).__name__}"
        )
    if not all(isinstance(v, int | np.integer) for v in value):
        raise TypeError(f"{name}(): argument '{argument}' must be an int or a tuple of ints, got {value!r}")
    if len(value) == 1:
        return (int(value[0]),) * n
    if len(value) != n:
        raise RuntimeError(
            f"{name}: {argument} must either be a single int, or a tuple of {n} ints, but got {list(value)}"
        )
    return tuple(int(v) for v in value)


def batched(name: str, input: Tensor, n: int) -> tuple[Tensor, bool]:
    """``input`` with a batch dimension, and whether it had one.

    Raises:
        RuntimeError: when it has neither ``n`` + 1 (C, *) nor ``n`` + 2 (N, C, *) dimensions.
    """
    if input.ndim == n + 2:
        return input, True
    if input.ndim == n + 1:
        return input.unsqueeze(0), False
    raise RuntimeError(
        f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {name}, but got input of size: {list(input.shape)}"
    )


def pooling_window(
    input: Tensor,
    name: str,
    n: int,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Window:
    """The window of a pooling over the last ``n`` dimensions; its stride is the kernel size by default.

    Raises:
        RuntimeError: for lengths that are out of range, and an input of another number of dimensions or without elements.
    """
    kernel = lengths(name, "kernel_size", kernel_size, n)
    window = Window(
        kernel,
        kernel
        if stride is None or (not isinstance(stride, int | np.integer) and len(stride) == 0)
        else lengths(name, "stride", stride, n),
        lengths(name, "padding", padding, n),
        lengths(name, "dilation", dilation, n),
        bool(ceil_mode),
    )
    for argument, values in (("kernel_size", kernel), ("stride", window.stride), ("dilation", window.dilation)):
        if min(values) <= 0:
            raise RuntimeError(f"{name}: {argument} must be greater than zero, but got {list(values)}")
    if min(window.padding) < 0:
        raise RuntimeError(f"{name}: pad must be non-negative, but got {list(window.padding)}")
    if any(2 * p > (k - 1) * d + 1 for p, k, d in zip(window.padding, kernel, window.dilation, strict=True)):
        raise RuntimeError(
            f"{name}: pad should be at most half of effective kernel size, but got pad={list(window.padding)}, "
            f"kernel_size={list(kernel)} and dilation={list(window.dilation)}"
        )
    if input.ndim not in (n + 1, n + 2) or 0 in input._data.shape[input.ndim - n - 1 :]:
        raise RuntimeError(
            f"{name}: Expected {n + 1}D or {n + 2}D (batch mode) tensor with optional 0 dim batch size for input, but got "
            f"shape {list(input.shape)}"
        )
    return window
