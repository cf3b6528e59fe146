"""A layer and the batch normalisation behind it as one layer, for evaluation.

With s = γ / √(σ² + eps), BN(W x + b) = (s W) x + s (b - μ) + β.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, TypeVar

from torchlite._tensor import Tensor
from torchlite.nn.module import Module
from torchlite.ops.creation import ones_like, zeros_like
from torchlite.parameter import Parameter

M = TypeVar("M", bound=Module)


def fuse_conv_bn_eval(conv: M, bn: Module, transpose: bool = False) -> M:
    """A copy of the convolution ``conv`` that does what ``conv`` and then ``bn`` do.

    Args:
        conv, bn: both in evaluation.
        transpose: whether ``conv`` is a transposed convolution.

    Raises:
        AssertionError: in training, or for batch normalisation without running statistics.
    """
    _check(conv, bn)
    return _fused(conv, fuse_conv_bn_weights(conv.weight, conv.bias, *_statistics(bn), bn.weight, bn.bias, transpose))


def fuse_linear_bn_eval(linear: M, bn: Module) -> M:
    """A copy of the linear layer ``linear`` that does what ``linear`` and then ``bn`` do.

    Raises:
        AssertionError: in training, for batch normalisation without running statistics, or of another number of features
            (other than 1).
    """
    _check(linear, bn)
    if bn.num_features not in (1, linear.out_features):
        raise AssertionError(
            "To fuse, linear.out_features == bn.num_features or bn.num_features == 1, got linear.out_features="
            f"{linear.out_features} and bn.num_features={bn.num_features}"
        )
    return _fused(linear, fuse_linear_bn_weights(linear.weight, linear.bias, *_statistics(bn), bn.weight, bn.bias))


def fuse_conv_bn_weights(
    conv_w: Tensor,
    conv_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of a convolution with the batch normalisation behind it.

    Args:
        conv_w, conv_b: of the convolution.
        bn_rm, bn_rv, bn_eps: μ, σ² and eps.
        bn_w, bn_b: γ and β, 1 and 0 where None.
        transpose: whether the output channels are the weight's second dimension.
    """
    gamma = ones_like(bn_rm) if bn_w is None else bn_w
    beta = zeros_like(bn_rm) if bn_b is None else bn_b
    shape = [1] * conv_w.ndim
    shape[1 if transpose else 0] = -1
    return _scaled(conv_w, conv_b, bn_rm, gamma * (bn_rv + bn_eps).rsqrt(), beta, shape)


def fuse_linear_bn_weights(
    linear_w: Tensor,
    linear_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor,
    bn_b: Tensor,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of a linear layer with the batch normalisation behind it; arguments as `fuse_conv_bn_weights`."""
    return _scaled(linear_w, linear_b, bn_rm, bn_w * (bn_rv + bn_eps).rsqrt(), bn_b, [-1, 1])


def _scaled(
    weight: Tensor, bias: Tensor | None, mean: Tensor, scale: Tensor, shift: Tensor, shape: list[int]
) -> tuple[Parameter, Parameter]:
    start = zeros_like(mean) if bias is None else bias
    new_weight = (weight * scale.reshape(shape)).to(weight.dtype)
    new_bias = ((start - mean) * scale + shift).to(weight.dtype if bias is None else bias.dtype)
    return Parameter(new_weight, weight.requires_grad), Parameter(new_bias, start.requires_grad)


def _check(layer: Module, bn: Module) -> None:
    if layer.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    if bn.running_mean is None or bn.running_var is None:
        raise AssertionError("bn.running_mean and bn.running_var must not be None")


def _statistics(bn: Module) -> tuple[Any, Any, float]:
    return bn.running_mean, bn.running_var, bn.eps


def _fused(layer: M, parameters: tuple[Parameter, Parameter]) -> M:
    fused = deepcopy(layer)
    fused.weight, fused.bias = parameters
    return fused
