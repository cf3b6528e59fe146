"""Sliding windows as columns, and columns added up as windows."""

from __future__ import annotations

from typing import Any

from torchlite._tensor import Tensor
from torchlite.nn import functional as F
from torchlite.nn.module import Module


class Unfold(Module):
    """Every window as a column.

    Args:
        kernel_size, dilation, padding, stride: an int or (height, width).

    Shape:
        (N, C, H, W) → (N, C · kh · kw, positions), or both without N
    """

    def __init__(self, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        """The columns."""
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        """The geometry."""
        return f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, stride={self.stride}"


class Fold(Module):
    """The sum of columns at their windows: the adjoint of `Unfold`.

    Args:
        output_size: (height, width) of the result.
        kernel_size, dilation, padding, stride: an int or (height, width).

    Shape:
        (N, C · kh · kw, positions) → (N, C, height, width), or both without N
    """

    def __init__(
        self, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        """The sum of the columns."""
        return F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        """The size and the geometry."""
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, dilation={self.dilation}, "
            f"padding={self.padding}, stride={self.stride}"
        )
