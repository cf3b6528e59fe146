"""Normalisation of each sample by statistics over its features, or over neighbouring channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.nn import functional as F
from torchlite.nn import init
from torchlite.nn.module import Module
from torchlite.ops.arithmetic import square, where
from torchlite.ops.creation import arange, empty
from torchlite.ops.joining import constant_pad
from torchlite.ops.unfolding import unfold
from torchlite.parameter import Parameter


class _Scaled(Module):
    """A module with a trained scale, and perhaps a shift."""

    def _create(self, shape: tuple[int, ...], wanted: dict[str, bool], device: Any, dtype: dtypes.dtype | None) -> None:
        for name, want in wanted.items():
            self.register_parameter(name, Parameter(empty(*shape, device=device, dtype=dtype)) if want else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Scale 1, shift 0."""
        for name, initialise in (("weight", init.ones_), ("bias", init.zeros_)):
            parameter = self._parameters.get(name)
            if parameter is not None:
                initialise(parameter)


class LayerNorm(_Scaled):
    """Each sample with zero mean and unit variance over its last dimensions, then scaled and shifted (Ba et al., 2016).

    Args:
        normalized_shape: lengths of those dimensions, or the length of the last.
        eps: added to the variance.
        elementwise_affine: whether there is a trained scale (and shift).
        bias: whether there is a trained shift.
        device, dtype: of the parameters.

    Shape:
        (*, *normalized_shape), unchanged; weight and bias: normalized_shape.
    """

    inferred: ClassVar[Mapping[str, int]] = {"normalized_shape": -1}

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: dtypes.dtype | None = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = (
            (normalized_shape,) if isinstance(normalized_shape, (int, np.integer)) else tuple(normalized_shape)
        )
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        wanted = {"weight": elementwise_affine, "bias": elementwise_affine and bias}
        self._create(self.normalized_shape, wanted, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``input``."""
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """The settings."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class RMSNorm(_Scaled):
    """Each sample with a mean square of 1 over its last dimensions, then scaled (Zhang & Sennrich, 2019).

    Args:
        normalized_shape: lengths of those dimensions, or the length of the last.
        eps: added to the mean square; by default the distance from 1 to the next number of the input's dtype.
        elementwise_affine: whether there is a trained scale.
        device, dtype: of the scale.

    Shape:
        (*, *normalized_shape), unchanged; weight: normalized_shape.
    """

    inferred: ClassVar[Mapping[str, int]] = {"normalized_shape": -1}

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: dtypes.dtype | None = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = (
            (normalized_shape,) if isinstance(normalized_shape, (int, np.integer)) else tuple(normalized_shape)
        )
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self._create(self.normalized_shape, {"weight": elementwise_affine}, device, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x``."""
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        """The settings."""
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(_Scaled):
    """Each group of channels of each sample with zero mean and unit variance, then scaled and shifted (Wu & He, 2018).

    Args:
        num_groups: into how many groups the channels are divided.
        num_channels: channels.
        eps: added to the variance.
        affine: whether there is a trained scale and shift.
        device, dtype: of the parameters.
        bias: whether there is a trained shift.

    Shape:
        (N, num_channels, *), unchanged; weight and bias: (num_channels,).
    """

    inferred: ClassVar[Mapping[str, int]] = {"num_channels": 1}

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: dtypes.dtype | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_channels % num_groups:
            raise ValueError(f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})")
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        self._create((num_channels,), {"weight": affine, "bias": affine and bias}, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``input``."""
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """The settings."""
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class LocalResponseNorm(Module):
    """x / (k + α · mean(x²))^β, the mean over ``size`` neighbouring channels (Krizhevsky et al., 2012)."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``input``."""
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        """The settings."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class CrossMapLRN2d(LocalResponseNorm):
    """`LocalResponseNorm` of images, with as many neighbours on both sides also for an even size.

    As in PyTorch the square of the first channel, once it is in the sum, stays in it.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1) -> None:
        super().__init__(size, alpha, beta, k)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``input`` (N, C, H, W)."""
        if input.ndim != 4:
            raise ValueError(f"CrossMapLRN2d: Expected input to be 4D, got {input.ndim}D instead.")
        side = (self.size - 1) // 2
        squares = square(input)
        total = unfold(constant_pad(squares, [(0, 0), (side, side), (0, 0), (0, 0)], 0.0), 1, 2 * side + 1, 1).sum(-1)
        behind = arange(input.shape[1], device=input.device).reshape(-1, 1, 1) > side
        total = total + where(behind, squares[:, :1], 0.0)
        return input / (total * (self.alpha / self.size) + self.k) ** self.beta
