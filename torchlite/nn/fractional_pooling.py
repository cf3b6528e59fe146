"""Max pooling over regions at random distances."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from torchlite._tensor import Tensor
from torchlite.nn import functional as F
from torchlite.nn.functional.lengths import lengths
from torchlite.nn.module import Module


class _FractionalMaxPool(Module):
    """The largest elements of windows that begin at random, nearly even distances (Graham, 2014).

    Args:
        kernel_size: of the windows, an int or one for each dimension.
        output_size: of the result, an int or one for each dimension.
        output_ratio: instead of it, the ratio of that to the size of the input, between 0 and 1.
        return_indices: also give where in the flattened plane each element was found.

    Shape:
        (N, C, *) → (N, C, *output_size), or both without N
    """

    spatial_dims: ClassVar[int]
    _pool: ClassVar[Callable[..., Any]]

    def __init__(
        self,
        kernel_size: Any,
        output_size: Any = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> None:
        super().__init__()
        name, n = type(self).__name__, self.spatial_dims
        if (output_size is None) == (output_ratio is None):
            raise ValueError(f"{name} requires either an output_size or an output_ratio, and not both")
        self.kernel_size = lengths(name, "kernel_size", kernel_size, n)
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)
        self.output_size = None if output_size is None else lengths(name, "output_size", output_size, n)
        given = output_ratio if isinstance(output_ratio, Sequence) else (output_ratio,) * n
        self.output_ratio = None if output_ratio is None else tuple(given)
        if self.output_ratio is not None and not all(0 < ratio < 1 for ratio in self.output_ratio):
            raise ValueError(f"{name}: output_ratio must be between 0 and 1 (got {output_ratio})")

    def forward(self, input: Tensor) -> Any:
        """The largest element of each window."""
        return self._pool(
            input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices,
            _random_samples=self._random_samples,
        )  # fmt: skip


class FractionalMaxPool2d(_FractionalMaxPool):
    __doc__ = _FractionalMaxPool.__doc__
    spatial_dims = 2
    _pool = staticmethod(F.fractional_max_pool2d)


class FractionalMaxPool3d(_FractionalMaxPool):
    __doc__ = _FractionalMaxPool.__doc__
    spatial_dims = 3
    _pool = staticmethod(F.fractional_max_pool3d)
