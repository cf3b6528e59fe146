"""Sliding windows as columns, and columns added up as windows."""

from __future__ import annotations

from typing import Any

from torchlite._tensor import Tensor
from torchlite.dispatch import apply
from torchlite.nn.functional.lengths import lengths
from torchlite.ops.columns import col2im, im2col
from torchlite.ops.windows import Window


def unfold(input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """Every window as a column.

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size, dilation, padding, stride: an int or (height, width).

    Shape:
        - result: (N, C · kh · kw, positions) or (C · kh · kw, positions)

    Raises:
        RuntimeError: when the window does not fit, or for lengths out of range.
    """
    window = _window("unfold", kernel_size, dilation, padding, stride)
    if input.ndim not in (3, 4) or 0 in input.shape[-3:]:
        raise RuntimeError(
            "unfold: Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for "
            f"input, but got: {list(input.shape)}"
        )
    x = input if input.ndim == 4 else input.unsqueeze(0)
    out: Tensor = apply(im2col, (x,), {"window": window})
    return out if input.ndim == 4 else out.squeeze(0)


def fold(
    input: Tensor, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """The sum of columns at their windows: the adjoint of `unfold`.

    Args:
        input: (N, C · kh · kw, positions) or (C · kh · kw, positions).
        output_size: (height, width) of the result.
        kernel_size, dilation, padding, stride: as in `unfold`.

    Shape:
        - result: (N, C, height, width) or (C, height, width)

    Raises:
        RuntimeError: when the columns are not those of such windows.
    """
    window = _window("fold", kernel_size, dilation, padding, stride)
    size = lengths("fold", "output_size", output_size, 2)
    if input.ndim not in (2, 3) or 0 in input.shape[-2:]:
        raise RuntimeError(
            "fold: Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero dimensions for "
            f"input, but got: {list(input.shape)}"
        )
    x = input if input.ndim == 3 else input.unsqueeze(0)
    col2im.infer(x._data, window=window, size=size)
    out: Tensor = apply(col2im, (x,), {"window": window, "size": size})
    return out if input.ndim == 3 else out.squeeze(0)


def _window(name: str, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Window:
    kernel, step = lengths(name, "kernel_size", kernel_size, 2), lengths(name, "stride", stride, 2)
    window = Window(kernel, step, lengths(name, "padding", padding, 2), lengths(name, "dilation", dilation, 2))
    for argument, values in (("kernel_size", kernel), ("stride", step), ("dilation", window.dilation)):
        if min(values) <= 0:
            raise RuntimeError(f"{name}: {argument} should be greater than zero, but got {list(values)}")
    if min(window.padding) < 0:
        raise RuntimeError(f"{name}: padding should be non-negative, but got {list(window.padding)}")
    return window
