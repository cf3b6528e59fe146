"""Resizing by interpolation."""

from __future__ import annotations

from typing import Any

from torchlite._tensor import Tensor
from torchlite.nn import functional as F
from torchlite.nn.module import Module


class Upsample(Module):
    """The input resized to a size or by a factor.

    Args:
        size: an int or one for each spatial dimension.
        scale_factor: a number or one for each spatial dimension, instead of ``size``.
        mode: "nearest", "linear", "bilinear", "bicubic", "trilinear" or another of `functional.interpolate`.
        align_corners: whether the centres of the corner elements coincide, rather than the corners of their areas.
        recompute_scale_factor: use the scale between the rounded sizes instead of ``scale_factor`` itself.

    Shape:
        (N, C, *) → (N, C, *size)
    """

    def __init__(
        self,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        self.name = type(self).__name__
        self.size = size
        if isinstance(scale_factor, tuple):
            self.scale_factor: Any = tuple(float(factor) for factor in scale_factor)
        else:
            self.scale_factor = float(scale_factor) if scale_factor else None
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        """The input in its new size."""
        return F.interpolate(
            input, self.size, self.scale_factor, self.mode, self.align_corners, self.recompute_scale_factor
        )

    def extra_repr(self) -> str:
        """The size or the factor, and the mode."""
        size = f"size={self.size!r}" if self.scale_factor is None else f"scale_factor={self.scale_factor!r}"
        return f"{size}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """`Upsample` of (N, C, H, W) with the mode "nearest"."""

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, "nearest")


class UpsamplingBilinear2d(Upsample):
    """`Upsample` of (N, C, H, W) with the mode "bilinear" and aligned corners."""

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, "bilinear", True)
