"""Pooling by the maximum, and its partial inverse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from torchlite._tensor import Tensor
from torchlite.nn import functional as F
from torchlite.nn.functional.lengths import lengths
from torchlite.nn.module import Module


class _MaxPool(Module):
    """The largest element of each window.

    Args:
        kernel_size, stride, padding, dilation: an int or one for each dimension; the stride is the kernel size by default.
        return_indices: also give where in the flattened plane each element was found.
        ceil_mode: also count windows that reach beyond the end.

    Shape:
        (N, C, *) → (N, C, *') where a length n becomes
        ⌊(n + 2·padding - dilation·(kernel - 1) - 1) / stride⌋ + 1, or both without N
    """

    _pool: ClassVar[Callable[..., Any]]

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Any:
        """The largest element of each window."""
        return self._pool(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )

    def extra_repr(self) -> str:
        """The geometry."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
            f"ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    __doc__ = _MaxPool.__doc__
    _pool = staticmethod(F.max_pool1d)


class MaxPool2d(_MaxPool):
    __doc__ = _MaxPool.__doc__
    _pool = staticmethod(F.max_pool2d)


class MaxPool3d(_MaxPool):
    __doc__ = _MaxPool.__doc__
    _pool = staticmethod(F.max_pool3d)


class _MaxUnpool(Module):
    """Zeros with the given elements where max pooling found them: its partial inverse.

    Args:
        kernel_size, stride, padding: of the pooling.

    Shape:
        (N, C, *) and indices of that shape → (N, C, *') where a length n becomes (n - 1)·stride - 2·padding + kernel
    """

    spatial_dims: ClassVar[int]
    _unpool: ClassVar[Callable[..., Tensor]]

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        self.kernel_size = self._lengths("kernel_size", kernel_size)
        self.stride = self._lengths("stride", kernel_size if stride is None else stride)
        self.padding = self._lengths("padding", padding)

    def _lengths(self, argument: str, value: Any) -> tuple[int, ...]:
        return lengths(type(self).__name__, argument, value, self.spatial_dims)

    def forward(self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """The elements at their indices; ``output_size`` chooses among the sizes that the pooling could have had."""
        return self._unpool(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        """The geometry."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    __doc__ = _MaxUnpool.__doc__
    spatial_dims = 1
    _unpool = staticmethod(F.max_unpool1d)


class MaxUnpool2d(_MaxUnpool):
    __doc__ = _MaxUnpool.__doc__
    spatial_dims = 2
    _unpool = staticmethod(F.max_unpool2d)


class MaxUnpool3d(_MaxUnpool):
    __doc__ = _MaxUnpool.__doc__
    spatial_dims = 3
    _unpool = staticmethod(F.max_unpool3d)
