"""Normalisation by the statistics of each channel, over a batch or within each sample."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.nn import functional as F
from torchlite.nn import init
from torchlite.nn.lazy import LazyModuleMixin
from torchlite.nn.module import Module
from torchlite.ops.creation import empty, ones, tensor, zeros
from torchlite.parameter import Parameter, UninitializedBuffer, UninitializedParameter


class _ChannelNorm(Module):
    """A trained scale and shift for each channel, and statistics of the past.

    Args:
        num_features: channels.
        eps: added to the variance.
        momentum: how far the running statistics move at each step; None makes them the mean of all steps.
        affine: whether there is a trained scale and shift.
        track_running_stats: whether there are running statistics.
        device, dtype: of parameters and buffers.
        bias: whether an affine transform shifts as well as scales.
    """

    inferred: ClassVar[Mapping[str, int]] = {"num_features": 1}
    _version = 2

    def __init__(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        device: Any,
        dtype: dtypes.dtype | None,
        bias: bool,
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

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], *rest: Any
    ) -> None:
        """Also states of the first version, which did not count batches."""
        name = f"{prefix}num_batches_tracked"
        if local_metadata.get("version", 1) < 2 and self.track_running_stats and name not in state_dict:
            count = self.num_batches_tracked
            state_dict[name] = tensor(0) if count.is_meta else count
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)

    def extra_repr(self) -> str:
        """The settings."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_ChannelNorm):
    """Batch normalisation of inputs that have one of the numbers of dimensions ``dims``."""

    dims: ClassVar[tuple[int, ...]] = ()

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
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim not in self.dims:
            expected = " or ".join(f"{n}D" for n in self.dims)
            raise ValueError(f"expected {expected} input (got {input.ndim}D input of shape {list(input.shape)})")

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``input``; in training also move the running statistics."""
        self._check_input_dim(input)
        if input.shape[1] != self.num_features:
            raise RuntimeError(
                f"{self._get_name()}({self.num_features}): the input has {input.shape[1]} channels, shape "
                f"{list(input.shape)}"
            )
        momentum = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                momentum = 1.0 / float(self.num_batches_tracked)
        by_batch = self.training or self.running_mean is None
        tracked = self.track_running_stats or not self.training
        return F.batch_norm(
            input,
            self.running_mean if tracked else None,
            self.running_var if tracked else None,
            self.weight,
            self.bias,
            by_batch,
            momentum,
            self.eps,
        )


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of inputs (N, C) or (N, C, L): each channel with zero mean and unit variance (Ioffe & Szegedy, 2015).

    In evaluation the running statistics of training take the place of the batch's.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: how far the running statistics move at each step; None makes them the mean of all steps.
        affine: whether there is a trained scale and shift.
        track_running_stats: whether there are running statistics.
        device, dtype: of parameters and buffers.
        bias: whether an affine transform shifts as well as scales.
    """

    dims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of inputs (N, C, H, W): each channel with zero mean and unit variance (Ioffe & Szegedy, 2015).

    In evaluation the running statistics of training take the place of the batch's.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: how far the running statistics move at each step; None makes them the mean of all steps.
        affine: whether there is a trained scale and shift.
        track_running_stats: whether there are running statistics.
        device, dtype: of parameters and buffers.
        bias: whether an affine transform shifts as well as scales.
    """

    dims = (4,)


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of inputs (N, C, D, H, W): each channel with zero mean and unit variance (Ioffe & Szegedy, 2015).

    In evaluation the running statistics of training take the place of the batch's.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: how far the running statistics move at each step; None makes them the mean of all steps.
        affine: whether there is a trained scale and shift.
        track_running_stats: whether there are running statistics.
        device, dtype: of parameters and buffers.
        bias: whether an affine transform shifts as well as scales.
    """

    dims = (5,)


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation of inputs with any number of dimensions; in one process its batch is all there is.

    Args:
        num_features, eps, momentum, affine, track_running_stats, device, dtype, bias: as in `BatchNorm2d`.
        process_group: for PyTorch's sake.

    Shape:
        (N, num_features, *), unchanged.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any = None,
        device: Any = None,
        dtype: dtypes.dtype | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self.process_group = process_group

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"expected at least 2D input (got {input.ndim}D input)")

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """``module`` with all its batch normalisations replaced by this one; their parameters stay the same objects."""
        converted = module
        if isinstance(module, _BatchNorm):
            converted = cls(
                module.num_features,
                module.eps,
                module.momentum,
                module.affine,
                module.track_running_stats,
                process_group,
            )
            for store in ("_parameters", "_buffers"):
                getattr(converted, store).update(getattr(module, store))
            converted.train(module.training)
        for name, child in module.named_children():
            converted._modules[name] = cls.convert_sync_batchnorm(child, process_group)
        return converted


class _InstanceNorm(_ChannelNorm):
    """Instance normalisation of inputs of ``ndim`` dimensions, or of one fewer without a batch."""

    ndim: ClassVar[int]

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: dtypes.dtype | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``input``; in training also move the running statistics, where there are any."""
        if input.ndim not in (self.ndim - 1, self.ndim):
            raise ValueError(
                f"expected {self.ndim - 1}D or {self.ndim}D input (got {input.ndim}D input of shape {list(input.shape)})"
            )
        batched = input.ndim == self.ndim
        channels = input.shape[int(batched)]
        if channels != self.num_features:
            said = f"expected input's size at dim={int(batched)} to match num_features ({self.num_features}), but got: {channels}."
            if self.affine:
                raise ValueError(said)
            warnings.warn(f"{said} num_features is not used in the normalization process.", stacklevel=3)
        out = F.instance_norm(
            input if batched else input.unsqueeze(0),
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )
        return out if batched else out.squeeze(0)


class InstanceNorm1d(_InstanceNorm):
    """Each channel of each sample (N, C, L) or (C, L) with zero mean and unit variance (Ulyanov et al., 2016).

    With running statistics, those take the place of the sample's own in evaluation.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: how far the running statistics move at each step.
        affine: whether there is a trained scale and shift.
        track_running_stats: whether there are running statistics.
        device, dtype: of parameters and buffers.
        bias: whether an affine transform shifts as well as scales.
    """

    ndim = 3


class InstanceNorm2d(_InstanceNorm):
    """Each channel of each sample (N, C, H, W) or (C, H, W) with zero mean and unit variance (Ulyanov et al., 2016).

    With running statistics, those take the place of the sample's own in evaluation.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: how far the running statistics move at each step.
        affine: whether there is a trained scale and shift.
        track_running_stats: whether there are running statistics.
        device, dtype: of parameters and buffers.
        bias: whether an affine transform shifts as well as scales.
    """

    ndim = 4


class InstanceNorm3d(_InstanceNorm):
    """Each channel of each sample (N, C, D, H, W) or (C, D, H, W) with zero mean and unit variance (Ulyanov et al., 2016).

    With running statistics, those take the place of the sample's own in evaluation.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: how far the running statistics move at each step.
        affine: whether there is a trained scale and shift.
        track_running_stats: whether there are running statistics.
        device, dtype: of parameters and buffers.
        bias: whether an affine transform shifts as well as scales.
    """

    ndim = 5


class _LazyNorm(LazyModuleMixin, _ChannelNorm):
    """A normalisation whose number of channels is that of its first input."""

    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: dtypes.dtype | None = None,
        *,
        bias: bool = True,
    ) -> None:
        # Without affine and statistics nothing is made that would have to be made again.
        super().__init__(0, eps, momentum, False, False, device, dtype, bias=bias)
        self.affine = affine
        self.track_running_stats = track_running_stats
        if affine:
            self.weight = UninitializedParameter(device=device, dtype=dtype)
            if bias:
                self.bias = UninitializedParameter(device=device, dtype=dtype)
        if track_running_stats:
            self.running_mean = UninitializedBuffer(device=device, dtype=dtype)
            self.running_var = UninitializedBuffer(device=device, dtype=dtype)
            self.num_batches_tracked = tensor(0, device=device)

    def reset_parameters(self) -> None:
        """Scale 1, shift 0, no past, once there are channels."""
        if self.num_features and not self.has_uninitialized_params():
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        """Take the number of channels from the input."""
        if not self.has_uninitialized_params():
            return
        batched = not hasattr(self, "ndim") or input.ndim == self.ndim
        self.num_features = input.shape[int(batched)]
        for x in (self.weight, self.bias, self.running_mean, self.running_var):
            if x is not None:
                x.materialize((self.num_features,))
        self.reset_parameters()


def _lazy(become: type[_ChannelNorm]) -> Any:
    name = f"Lazy{become.__name__}"
    doc = f"A `{become.__name__}` whose number of channels is that of its first input."
    return type(
        name, (_LazyNorm, become), {"cls_to_become": become, "__doc__": doc, "__module__": __name__, "inferred": {}}
    )


LazyBatchNorm1d, LazyBatchNorm2d, LazyBatchNorm3d = map(_lazy, (BatchNorm1d, BatchNorm2d, BatchNorm3d))
LazyInstanceNorm1d, LazyInstanceNorm2d, LazyInstanceNorm3d = map(
    _lazy, (InstanceNorm1d, InstanceNorm2d, InstanceNorm3d)
)
