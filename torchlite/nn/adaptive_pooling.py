"""Pooling over a grid of a given size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from torchlite._tensor import Tensor
from torchlite.nn import functional as F
from torchlite.nn.module import Module


class _AdaptiveAvgPool(Module):
    """Means over a grid of regions that covers the input, whatever its size.

    Args:
        output_size: an int or one for each dimension; None keeps that length.

    Shape:
        (N, C, *) → (N, C, *output_size), or both without N
    """

    _pool: ClassVar[Callable[..., Tensor]]

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        """The mean of each region."""
        return self._pool(input, self.output_size)

    def extra_repr(self) -> str:
        """The size of the result."""
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    __doc__ = _AdaptiveAvgPool.__doc__
    _pool = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    __doc__ = _AdaptiveAvgPool.__doc__
    _pool = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    __doc__ = _AdaptiveAvgPool.__doc__
    _pool = staticmethod(F.adaptive_avg_pool3d)


class _AdaptiveMaxPool(Module):
    """The largest elements over a grid of regions that covers the input, whatever its size.

    Args:
        output_size: an int or one for each dimension; None keeps that length.
        return_indices: also give where in the flattened plane each element was found.

    Shape:
        (N, C, *) → (N, C, *output_size), or both without N
    """

    _pool: ClassVar[Callable[..., Any]]

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices

    def forward(self, input: Tensor) -> Any:
        """The largest element of each region."""
        return self._pool(input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        """The size of the result."""
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    __doc__ = _AdaptiveMaxPool.__doc__
    _pool = staticmethod(F.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    __doc__ = _AdaptiveMaxPool.__doc__
    _pool = staticmethod(F.adaptive_max_pool2d)


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    __doc__ = _AdaptiveMaxPool.__doc__
    _pool = staticmethod(F.adaptive_max_pool3d)
