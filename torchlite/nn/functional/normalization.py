"""Normalisation by statistics of the batch, of each sample, or of neighbouring channels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.autocasting import autocasts
from torchlite.autograd.grad_mode import no_grad
from torchlite.batching.level import levels
from torchlite.compiler.rows import each
from torchlite.integers import takes_integers
from torchlite.ir import FLOAT32_ON_CUDA
from torchlite.ops.arithmetic import div, rsqrt, square
from torchlite.ops.batch_norm import batch_norm as normalize_channels
from torchlite.ops.joining import constant_pad
from torchlite.ops.layer_norm import layer_norm as normalize_rows
from torchlite.ops.reduction import mean
from torchlite.ops.standardize import affine, standardize
from torchlite.ops.unfolding import unfold
from torchlite.tracing import active

_HALVES = (dtypes.float16, dtypes.bfloat16)


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """(x - μ) / √(σ² + eps) · weight + bias for each channel (Ioffe & Szegedy, 2015).

    In training μ and σ² are the batch's, and the running statistics move towards them (the unbiased variance) by
    ``momentum``; otherwise they are the running ones.

    Shape:
        - input: (N, C, *); the others: (C,)

    Raises:
        ValueError: in training, for one value per channel; for an ``eps`` that is not positive.
        RuntimeError: when the parameters have another number of channels than the input.
    """
    if training:
        _check_enough_values(input, input.numel() // max(input.shape[1], 1) if input.ndim > 1 else 0)
    if eps < 0 or (training and eps == 0):
        raise ValueError(f"batch_norm eps must be positive during training and never negative, but got {eps}")
    if input.numel() == 0:
        return _without_elements(input, weight, bias)
    if input.ndim < 2:
        raise RuntimeError(f"batch_norm: expected input of shape (N, C, *), got {list(input.shape)}")
    names = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    _check_channels("batch_norm", input.shape[1], names)
    if not training and running_mean is not None and running_var is not None:
        return _by_running_statistics(input, running_mean, running_var, weight, bias, eps)
    out, mean, scale = _by_own_statistics(input, weight, bias, eps)
    if training and running_mean is not None and running_var is not None:
        _track(running_mean, running_var, mean.reshape(-1), scale.reshape(-1), momentum, eps, input)
    return out


def _check_enough_values(input: Tensor, count: int) -> None:
    if count == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {list(input.shape)}")


def _check_channels(name: str, channels: int, parameters: dict[str, Tensor | None]) -> None:
    for parameter, x in parameters.items():
        if x is not None and x.numel() != channels:
            raise RuntimeError(
                f"{name}: {parameter} should contain {channels} elements, one for each channel, not {x.numel()}"
            )


def _without_elements(input: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """A copy of an input without elements, in whose history the parameters are."""
    out = input.clone()
    for x in (weight, bias):
        if x is not None:
            out = out * x.reshape(-1)[:1]
    return out


def _wide(input: Tensor) -> Tensor:
    """Statistics of half-precision numbers are computed in float32."""
    return input.to(dtypes.float32) if input.dtype in _HALVES else input


def _by_channel(x: Tensor | None, ndim: int) -> Tensor | None:
    return None if x is None else x.view((1, -1, *(1,) * (ndim - 2)))


def _by_own_statistics(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    given = tuple(v for v in (weight, bias) if v is not None)
    wide = dtypes.float32 if input.dtype in _HALVES else input.dtype
    # One of the two alone, other dtypes and examples of a vmap are left to operators that know of one thing each, and so is
    # what is captured, where passes join them with what stands beside them.
    if (
        len(given) != 1
        and all(v.dtype is wide and v.ndim == 1 for v in given)
        and not levels.stack
        and active.tracer is None
    ):
        return normalize_channels(input, given, eps)
    out, mean, scale = standardize(_wide(input), (0, *range(2, input.ndim)), eps)
    out = _scaled(out, _by_channel(weight, input.ndim), _by_channel(bias, input.ndim)).to(input.dtype)
    return out, mean, scale


def _by_running_statistics(
    input: Tensor, mean: Tensor, var: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    scale = rsqrt(var + eps)
    if weight is not None:
        scale = scale * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    return _scaled(input, _by_channel(scale, input.ndim), _by_channel(shift, input.ndim)).to(input.dtype)


def _track(
    running_mean: Tensor, running_var: Tensor, mean: Tensor, scale: Tensor, momentum: float, eps: float, input: Tensor
) -> None:
    """Move running statistics towards those of a batch, given as μ and 1 / √(σ² + eps)."""
    if running_mean.device.type == "meta":
        return  # which holds no numbers to move
    n = input.numel() // mean.numel()
    repeats = mean.numel() // running_mean.numel()
    with no_grad():
        if repeats > 1:  # as many statistics as there are samples
            mean, variance = (v.reshape(repeats, -1).mean(0) for v in (mean, _variance(scale, eps, n)))
            _move(running_mean, running_var, mean, variance, momentum)
            return
        for moved_mean, moved_var, of_batch, its_scale in each([(running_mean, running_var, mean, scale)]):
            _move(moved_mean, moved_var, of_batch, _variance(its_scale, eps, n), momentum)


def _variance(scale: Tensor, eps: float, n: int) -> Tensor:
    """The unbiased one of n numbers, from 1 / √(σ² + eps)."""
    return (1 / (scale * scale) - eps) * (n / max(n - 1, 1))


def _move(running_mean: Tensor, running_var: Tensor, mean: Tensor, variance: Tensor, momentum: float) -> None:
    running_mean.mul_(1 - momentum).add_(mean.to(running_mean.dtype), alpha=momentum)
    running_var.mul_(1 - momentum).add_(variance.to(running_var.dtype), alpha=momentum)


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`batch_norm` with statistics of each channel of each sample (Ulyanov et al., 2016).

    The running statistics, where given, move towards the mean of the samples' own; without ``use_input_stats`` they
    are what is used.

    Shape:
        - input: (N, C, *); the others: (C,)

    Raises:
        ValueError: for one value per channel.
        RuntimeError: when the parameters have another number of channels than the input, or statistics are missing.
    """
    if use_input_stats:
        if math.prod(input.shape[2:]) == 1:
            raise ValueError(f"Expected more than 1 spatial element when training, got input size {list(input.shape)}")
    elif running_mean is None or running_var is None:
        raise RuntimeError("Expected running_mean and running_var to be defined when use_input_stats is false")
    names = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    _check_channels("instance_norm", input.shape[1], names)
    if input.numel() == 0:
        return _without_elements(input, weight, bias)
    if not use_input_stats and running_mean is not None and running_var is not None:
        return _by_running_statistics(input, running_mean, running_var, weight, bias, eps)
    out, mean, scale = standardize(_wide(input), tuple(range(2, input.ndim)), eps)
    if running_mean is not None and running_var is not None:
        _track(running_mean, running_var, mean.reshape(-1), scale.reshape(-1), momentum, eps, input)
    return _scaled(out, _by_channel(weight, input.ndim), _by_channel(bias, input.ndim)).to(input.dtype)


@autocasts(FLOAT32_ON_CUDA)
def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x - μ) / √(σ² + eps) · weight + bias over the last dimensions (Ba, Kiros & Hinton, 2016).

    Raises:
        RuntimeError: when the input does not end in ``normalized_shape``, or weight and bias have another shape.
    """
    out, _, _ = native_layer_norm(input, normalized_shape, weight, bias, eps)
    return out


@autocasts(FLOAT32_ON_CUDA)
def native_layer_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """`layer_norm`, and the mean and 1 / √(σ² + eps) of each sample."""
    dims = _last_dims("layer_norm", input, tuple(normalized_shape), {"weight": weight, "bias": bias})
    x = _wide(input)
    given = tuple(v for v in (weight, bias) if v is not None)
    # A bias alone, other dtypes and examples of a vmap are left to operators that know of one thing each.
    whole = (weight is not None or bias is None) and all(v.dtype is x.dtype for v in given)
    if whole and x.numel() and not levels.stack:
        out, mean, scale = normalize_rows(x, given, len(dims), eps)
        return out.to(input.dtype), mean, scale
    out, mean, scale = standardize(x, dims, eps)
    return _scaled(out, weight, bias).to(input.dtype), mean, scale


@autocasts(FLOAT32_ON_CUDA)
def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """X / √(mean(x²) + eps) · weight over the last dimensions (Zhang & Sennrich, 2019).

    Args:
        input: (*, *normalized_shape).
        normalized_shape: lengths of those dimensions.
        weight: of that shape.
        eps: by default the distance from 1 to the next number of the input's dtype.

    Raises:
        RuntimeError: when the input does not end in ``normalized_shape``, or the weight has another shape.
    """
    dims = _last_dims("rms_norm", input, tuple(normalized_shape), {"weight": weight})
    x = _wide(input)
    if eps is None:
        eps = float(np.finfo(x._data.dtype).eps)
    out = x * rsqrt(mean(square(x), dims, keepdim=True) + eps)
    return (out if weight is None else out * weight).to(input.dtype)


def _last_dims(
    name: str, input: Tensor, shape: tuple[int, ...], parameters: dict[str, Tensor | None]
) -> tuple[int, ...]:
    """The positions of the dimensions that ``shape`` names, once it and the parameters are known to fit."""
    if not shape:
        raise RuntimeError(f"{name}: Expected normalized_shape to be at least 1-dimensional, but got []")
    for parameter, x in parameters.items():
        if x is not None and tuple(x.shape) != shape:
            raise RuntimeError(
                f"{name}: Expected {parameter} to be of same shape as normalized_shape, but got {parameter} of shape "
                f"{list(x.shape)} and normalized_shape = {list(shape)}"
            )
    if tuple(input.shape[max(input.ndim - len(shape), 0) :]) != shape:
        raise RuntimeError(
            f"{name}: Given normalized_shape={list(shape)}, expected input with shape [*, "
            f"{', '.join(map(str, shape))}], but got input of size {list(input.shape)}"
        )
    return tuple(range(input.ndim - len(shape), input.ndim))


@autocasts(FLOAT32_ON_CUDA)
@takes_integers
def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """(x - μ) / √(σ² + eps) · weight + bias with statistics of each group of channels (Wu & He, 2018).

    Shape:
        - input: (N, C, *); weight and bias: (C,)

    Raises:
        ValueError: for one value per group.
        RuntimeError: when the channels can't be divided into the groups, or weight and bias do not fit them.
    """
    if input.ndim < 2:
        raise RuntimeError(f"Expected at least 2 dimensions for input tensor but received {input.ndim}")
    samples, channels = input.shape[:2]
    if num_groups <= 0 or channels % num_groups:
        raise RuntimeError(
            "Expected number of channels in input to be divisible by num_groups, but got input of shape "
            f"{list(input.shape)} and num_groups={num_groups}"
        )
    _check_enough_values(input, input.numel() // num_groups)
    _check_channels("group_norm", channels, {"weight": weight, "bias": bias})
    spatial = math.prod(input.shape[2:])
    out, _, _ = native_group_norm(input, weight, bias, samples, channels, spatial, num_groups, eps)
    return out


@takes_integers
def native_group_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, N: int, C: int, HxW: int, group: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """`group_norm` of N samples with C channels of HxW elements, and the mean and 1 / √(σ² + eps) of each group."""
    grouped = _wide(input).reshape(N, group, C // group * HxW)
    out, mean, scale = standardize(grouped, (2,), eps)
    out = out.reshape(input.shape)
    out = _scaled(out, _by_channel(weight, input.ndim), _by_channel(bias, input.ndim)).to(input.dtype)
    return out, mean.squeeze(2), scale.squeeze(2)


def _scaled(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """x · weight + bias, in one operator where all three are there and of one dtype."""
    if weight is not None and bias is not None and x.dtype is weight.dtype is bias.dtype:
        return affine(x, weight, bias)
    if weight is not None:
        x = x * weight
    return x if bias is None else x + bias


@takes_integers
def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """X / (k + α · mean(x²))^β, the mean over ``size`` neighbouring channels (Krizhevsky et al., 2012).

    Channels outside count as zeros.

    Shape:
        - input: (N, C, *) of at least three dimensions

    Raises:
        ValueError: for fewer dimensions.
    """
    if input.ndim < 3:
        raise ValueError(f"Expected 3D or higher dimensionality input (got {input.ndim} dimensions)")
    if input.numel() == 0:
        return input
    border = [(0, 0), (size // 2, (size - 1) // 2), *[(0, 0)] * (input.ndim - 2)]
    neighbours = unfold(constant_pad(square(input), border, 0.0), 1, size, 1).sum(-1)
    share = div(neighbours, size, rounding_mode=None if input.is_floating_point() else "trunc")
    return input / (share * alpha + k) ** beta
