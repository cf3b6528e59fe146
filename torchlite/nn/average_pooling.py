"""Pooling by means and by power means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from torchlite._tensor import Tensor
from torchlite.nn import functional as F
from torchlite.nn.functional.lengths import lengths
from torchlite.nn.module import Module


class AvgPool1d(Module):
    """The mean of each window.

    Args:
        kernel_size, stride, padding: an int; the stride is the kernel size by default.
        ceil_mode: also count windows that reach beyond the end.
        count_include_pad: whether the zeros of the padding count as elements.

    Shape:
        (N, C, L) → (N, C, L') with L' = ⌊(L + 2·padding - kernel) / stride⌋ + 1, or both without N
    """

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size = lengths("AvgPool1d", "kernel_size", kernel_size, 1)
        self.stride = lengths("AvgPool1d", "stride", kernel_size if stride is None else stride, 1)
        self.padding = lengths("AvgPool1d", "padding", padding, 1)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        """The mean of each window."""
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)

    def extra_repr(self) -> str:
        """The geometry."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _AvgPool(Module):
    """The mean of each window.

    Args:
        kernel_size, stride, padding: an int or one for each dimension; the stride is the kernel size by default.
        ceil_mode: also count windows that reach beyond the end.
        count_include_pad: whether the zeros of the padding count as elements.
        divisor_override: what the sums are divided by instead of the number of elements.

    Shape:
        (N, C, *) → (N, C, *') where a length n becomes ⌊(n + 2·padding - kernel) / stride⌋ + 1, or both without N
    """

    _pool: ClassVar[Callable[..., Tensor]]

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: Tensor) -> Tensor:
        """The mean of each window."""
        return self._pool(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad,
            self.divisor_override,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """The geometry."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(_AvgPool):
    __doc__ = _AvgPool.__doc__
    _pool = staticmethod(F.avg_pool2d)


class AvgPool3d(_AvgPool):
    __doc__ = _AvgPool.__doc__
    _pool = staticmethod(F.avg_pool3d)


class _LPPool(Module):
    """(Σ xᵖ)^(1/p) of each window; the sum for p = 1, the maximum of |x| for p = ∞.

    Args:
        norm_type: p.
        kernel_size, stride: an int or one for each dimension; the stride is the kernel size by default.
        ceil_mode: also count windows that reach beyond the end.

    Shape:
        (N, C, *) → (N, C, *') where a length n becomes ⌊(n - kernel) / stride⌋ + 1, or both without N
    """

    _pool: ClassVar[Callable[..., Tensor]]

    def __init__(self, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> None:
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        """The power mean of each window, times the number of its elements to the power of 1/p."""
        return self._pool(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        """The exponent and the geometry."""
        return f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, ceil_mode={self.ceil_mode}"


class LPPool1d(_LPPool):
    __doc__ = _LPPool.__doc__
    _pool = staticmethod(F.lp_pool1d)


class LPPool2d(_LPPool):
    __doc__ = _LPPool.__doc__
    _pool = staticmethod(F.lp_pool2d)


class LPPool3d(_LPPool):
    __doc__ = _LPPool.__doc__
    _pool = staticmethod(F.lp_pool3d)
