"""Borders around the input."""

from __future__ import annotations

from typing import Any, ClassVar

from torchlite._tensor import Tensor
from torchlite.nn import functional as F
from torchlite.nn.functional.lengths import lengths
from torchlite.nn.module import Module


class _Pad(Module):
    """The input with a border.

    Args:
        padding: an int for all sides, or (before, after) of each dimension from the last forwards; negative widths crop.

    Shape:
        (N, C, *) → (N, C, *') where a length n becomes before + n + after, or both without N
    """

    spatial_dims: ClassVar[int]
    mode: ClassVar[str]

    def __init__(self, padding: Any) -> None:
        super().__init__()
        self.padding = lengths(type(self).__name__, "padding", padding, 2 * self.spatial_dims)

    def forward(self, input: Tensor) -> Tensor:
        """The input with its border."""
        return F.pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        """The widths."""
        return f"{self.padding}"


class ReflectionPad1d(_Pad):
    """A border that mirrors the input at its edge elements; ``padding``: an int or (left, right)."""

    spatial_dims, mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """A border that mirrors the input at its edge elements; ``padding``: an int or (left, right, top, bottom)."""

    spatial_dims, mode = 2, "reflect"


class ReflectionPad3d(_Pad):
    """A border that mirrors the input at its edge elements; ``padding``: an int or six of them, the last dimension first."""

    spatial_dims, mode = 3, "reflect"


class ReplicationPad1d(_Pad):
    """A border that repeats the edge elements; ``padding``: an int or (left, right)."""

    spatial_dims, mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """A border that repeats the edge elements; ``padding``: an int or (left, right, top, bottom)."""

    spatial_dims, mode = 2, "replicate"


class ReplicationPad3d(_Pad):
    """A border that repeats the edge elements; ``padding``: an int or six of them, the last dimension first."""

    spatial_dims, mode = 3, "replicate"


class _CircularPad(_Pad):
    mode = "circular"

    def forward(self, input: Tensor) -> Tensor:
        """The input with its border.

        Raises:
            ValueError: for an input of another number of dimensions.
        """
        least = self.spatial_dims + 1
        if input.ndim not in (least, least + 1):
            raise ValueError(f"expected {least}D or {least + 1}D input (got {input.ndim}D input)")
        return super().forward(input)


class CircularPad1d(_CircularPad):
    """A border that continues with the other end; ``padding``: an int or (left, right)."""

    spatial_dims = 1


class CircularPad2d(_CircularPad):
    """A border that continues with the other end; ``padding``: an int or (left, right, top, bottom)."""

    spatial_dims = 2


class CircularPad3d(_CircularPad):
    """A border that continues with the other end; ``padding``: an int or six of them, the last dimension first."""

    spatial_dims = 3


class _ConstantPad(_Pad):
    mode = "constant"

    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        """The input with its border."""
        return F.pad(input, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        """The widths and the value."""
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """A border of one value; ``padding``: an int or (left, right)."""

    spatial_dims = 1


class ConstantPad2d(_ConstantPad):
    """A border of one value; ``padding``: an int or (left, right, top, bottom)."""

    spatial_dims = 2


class ConstantPad3d(_ConstantPad):
    """A border of one value; ``padding``: an int or six of them, the last dimension first."""

    spatial_dims = 3


class ZeroPad1d(ConstantPad1d):
    """A border of zeros; ``padding``: an int or (left, right)."""

    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    extra_repr = _Pad.extra_repr


class ZeroPad2d(ConstantPad2d):
    """A border of zeros; ``padding``: an int or (left, right, top, bottom)."""

    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    extra_repr = _Pad.extra_repr


class ZeroPad3d(ConstantPad3d):
    """A border of zeros; ``padding``: an int or six of them, the last dimension first."""

    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    extra_repr = _Pad.extra_repr
