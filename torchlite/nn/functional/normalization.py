"""Normalisation by statistics of the batch or of each sample."""

from __future__ import annotations

from collections.abc import Sequence

from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import no_grad
from torchlite.ops.standardize import affine, standardize


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
    """
    if input.ndim < 2:
        raise RuntimeError(f"batch_norm: expected input of shape (N, C, *), got {list(input.shape)}")
    channels = (1, -1, *(1,) * (input.ndim - 2))
    if training or running_mean is None or running_var is None:
        dims = (0, *range(2, input.ndim))
        n = input.numel() // input.shape[1]
        if training and n == 1:
            raise ValueError(
                f"Expected more than 1 value per channel when training, got input size {list(input.shape)}"
            )
        out, mean, scale = standardize(input, dims, eps)
        if training and running_mean is not None and running_var is not None:
            with no_grad():
                variance = (1 / (scale * scale) - eps).reshape(-1) * (n / (n - 1))
                running_mean.mul_(1 - momentum).add_(mean.reshape(-1).to(running_mean.dtype), alpha=momentum)
                running_var.mul_(1 - momentum).add_(variance.to(running_var.dtype), alpha=momentum)
    else:
        scale = (running_var + eps).rsqrt()
        if weight is not None:
            scale, weight = scale * weight, None
        shift = -running_mean * scale if bias is None else bias - running_mean * scale
        return _scaled(input, scale.view(channels), shift.view(channels))
    return _scaled(
        out, None if weight is None else weight.view(channels), None if bias is None else bias.view(channels)
    )


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x - μ) / √(σ² + eps) · weight + bias over the last dimensions (Ba, Kiros & Hinton, 2016).

    Raises:
        RuntimeError: when the input does not end in ``normalized_shape``.
    """
    shape = tuple(normalized_shape)
    if tuple(input.shape[input.ndim - len(shape) :]) != shape:
        raise RuntimeError(
            f"layer_norm: given normalized_shape={list(shape)}, expected input with shape [*, {', '.join(map(str, shape))}], "
            f"but got input of size {list(input.shape)}"
        )
    out, _, _ = standardize(input, tuple(range(input.ndim - len(shape), input.ndim)), eps)
    return _scaled(out, weight, bias)


def _scaled(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """x · weight + bias, in one operator where all three are there and of one dtype."""
    if weight is not None and bias is not None and x.dtype is weight.dtype is bias.dtype:
        return affine(x, weight, bias)
    if weight is not None:
        x = x * weight
    return x if bias is None else x + bias
