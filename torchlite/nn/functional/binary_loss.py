"""Losses against targets that say yes or no."""

from __future__ import annotations

import math

from torchlite._tensor import Tensor
from torchlite.autocasting import autocasts
from torchlite.ir import FLOAT32, FLOAT32_ON_CUDA, Autocast
from torchlite.nn.functional.activation import logsigmoid, softplus
from torchlite.nn.functional.reduction import chosen_reduction, reduced
from torchlite.ops import loss as loss_ops
from torchlite.tracing import valid


@autocasts(Autocast("float32", "refused"))
def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-(y ln p + (1 - y) ln(1 - p)) · weight of probabilities p, with logarithms not below -100.

    Raises:
        ValueError: when the shapes of input and target differ.
        RuntimeError: for an input outside [0, 1].
    """
    reduction = chosen_reduction(size_average, reduce, reduction)
    if target.shape != input.shape:
        raise ValueError(
            f"Using a target size ({list(target.shape)}) that is different to the input size ({list(input.shape)}) is "
            "deprecated. Please ensure they have the same size."
        )
    if input.dtype is not target.dtype:
        raise RuntimeError(f"Found dtype {target.dtype} but expected {input.dtype}")
    x = input.detach()
    if not input.is_meta and not input.is_cuda and not valid(~((x < 0) | (x > 1)).any()):  # NaN is let through
        raise RuntimeError("all elements of input should be between 0 and 1")
    loss = loss_ops.binary_cross_entropy(input, target)
    return reduced(loss if weight is None else loss * weight, reduction)


@autocasts(FLOAT32)
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """-(pos_weight · y ln σ(x) + (1 - y) ln(1 - σ(x))) · weight, without overflow.

    Raises:
        ValueError: when the shapes of input and target differ.
    """
    reduction = chosen_reduction(size_average, reduce, reduction)
    if input.shape != target.shape:
        raise ValueError(f"Target size ({list(target.shape)}) must be the same as input size ({list(input.shape)})")
    if pos_weight is None and input.dtype is target.dtype:
        loss = loss_ops.cross_entropy_of_logits(input, target)
    else:  # softplus(-x) is -ln σ(x)
        factor = 1 if pos_weight is None else (pos_weight - 1) * target + 1
        loss = (1 - target) * input + softplus(-input, threshold=math.inf) * factor
    return reduced(loss if weight is None else loss * weight, reduction)


@autocasts(FLOAT32)
def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """ln(1 + exp(-y x)) for targets y of 1 and -1."""
    reduction = chosen_reduction(size_average, reduce, reduction)
    return reduced(softplus(-target * input, threshold=math.inf), reduction)


@autocasts(FLOAT32_ON_CUDA)
def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The binary cross-entropy of logits, averaged over the classes (the last dimension)."""
    reduction = chosen_reduction(size_average, reduce, reduction)
    loss = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    return reduced((loss if weight is None else loss * weight).mean(-1), reduction)
