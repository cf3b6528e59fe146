"""Normalisation by the statistics of a batch or of a sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.nn import functional as F
from torchlite.nn import init
from torchlite.nn.module import Module
from torchlite.nn.parameter import Parameter
from torchlite.ops.creation import empty, ones, tensor, zeros


class BatchNorm2d(Module):
    """Each channel with zero mean and unit variance over the batch, then scaled and shifted (Ioffe & Szegedy, 2015).

    In evaluation the running statistics of training take the place of the batch's.

    Args:
        num_features: channels.
        eps: added to the variance.
        momentum: how far the running statistics move at each step; None makes them the mean of all steps.
        affine: whether there is a trained scale and shift.
        track_running_stats: whether there are running statistics.
        device, dtype: of parameters and buffers.
        bias: whether an affine transform shifts as well as scales.

    Shape:
        (N, num_features, H, W), unchanged; weight, bias, running_mean, running_var: (num_features,).
    """

    inferred: ClassVar[Mapping[str, int]] = {"num_features": 1}

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: dtypes.dtype | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            self.register_parameter(
                name, Parameter(empty(num_features, device=device, dtype=dtype)) if wanted else None
            )
        tracked = track_running_stats
        self.register_buffer("running_mean", zeros(num_features, device=device, dtype=dtype) if tracked else None)
        self.register_buffer("running_var", ones(num_features, device=device, dtype=dtype) if tracked else None)
        self.register_buffer("num_batches_tracked", tensor(0, device=device) if tracked else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forget the statistics of the past."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Scale 1, shift 0, no past."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``input``; in training also move the running statistics."""
        if input.ndim != 4:
            raise ValueError(f"expected 4D input (got {input.ndim}D input of shape {list(input.shape)})")
        if input.shape[1] != self.num_features:
            raise RuntimeError(
                f"BatchNorm2d({self.num_features}): the input has {input.shape[1]} channels, shape {list(input.shape)}"
            )
        momentum = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                momentum = 1.0 / float(self.num_batches_tracked)
        batch_statistics = self.training or self.running_mean is None
        return F.batch_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            batch_statistics,
            momentum,
            self.eps,
        )

    def extra_repr(self) -> str:
        """The settings."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class LayerNorm(Module):
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
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        for name, wanted in (("weight", elementwise_affine), ("bias", elementwise_affine and bias)):
            shape = self.normalized_shape
            self.register_parameter(name, Parameter(empty(*shape, device=device, dtype=dtype)) if wanted else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Scale 1, shift 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``input``."""
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """The settings."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )
