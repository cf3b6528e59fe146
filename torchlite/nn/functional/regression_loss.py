"""Losses against numbers and distributions."""

from __future__ import annotations

import math
import warnings

from torchlite._tensor import Tensor
from torchlite.autocasting import autocasts
from torchlite.ir import FLOAT32
from torchlite.nn.functional.distance import at_least
from torchlite.nn.functional.reduction import check_reduction, chosen_reduction, reduced
from torchlite.ops.arithmetic import square, where
from torchlite.ops.entropy import xlogy
from torchlite.ops.half_precision import rounded_once
from torchlite.ops.loss import huber
from torchlite.ops.pointwise import exp, log
from torchlite.tracing import valid


@autocasts(FLOAT32)
def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """(input - target)²; the mean is over the weights where there are any. Warns where the shapes differ.

    Raises:
        RuntimeError: when the shapes can't be broadcast.
        ValueError: when ``weight`` has not the shape of ``input``.
    """
    _warn_of_shapes(input, target)
    reduction = chosen_reduction(size_average, reduce, reduction)
    return _weighted(square(input - target), weight, input, reduction)


@autocasts(FLOAT32)
def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """|input - target|; as `mse_loss` otherwise."""
    _warn_of_shapes(input, target)
    reduction = chosen_reduction(size_average, reduce, reduction)
    return _weighted((input - target).abs(), weight, input, reduction)


@autocasts(FLOAT32)
def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """d² / 2β where the distance d is below β, d - β / 2 elsewhere (Girshick, 2015).

    Raises:
        RuntimeError: for a negative β.
    """
    _warn_of_shapes(input, target)
    reduction = chosen_reduction(size_average, reduce, reduction)
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    return reduced(_smooth_l1(input, target, beta), reduction)


@rounded_once
def _smooth_l1(input: Tensor, target: Tensor, beta: float) -> Tensor:
    return (input - target).abs() if beta == 0 else huber(input, target, beta) / beta


@autocasts(FLOAT32)
def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """d² / 2 where the distance d is below δ, δ(d - δ / 2) elsewhere (Huber, 1964), times ``weight``.

    Raises:
        RuntimeError: for a δ that is not positive.
        ValueError: when ``weight`` has not the shape of ``input``.
    """
    _warn_of_shapes(input, target)
    check_reduction(reduction)
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    loss = huber(input, target, delta)
    if weight is not None:
        _check_weight(weight, input)
        loss = loss * weight
    return reduced(loss, reduction)


def _warn_of_shapes(input: Tensor, target: Tensor) -> None:
    if target._data.shape != input._data.shape:
        warnings.warn(
            f"Using a target size ({list(target.shape)}) that is different to the input size ({list(input.shape)}). "
            "This will likely lead to incorrect results due to broadcasting. Please ensure they have the same size.",
            stacklevel=3,
        )


def _check_weight(weight: Tensor, input: Tensor) -> None:
    if weight.shape != input.shape:
        raise ValueError(
            f"Weights and input must have the same size, got {list(weight.shape)} and {list(input.shape)}."
        )


def _weighted(loss: Tensor, weight: Tensor | None, input: Tensor, reduction: str) -> Tensor:
    if weight is None:
        return reduced(loss, reduction)
    _check_weight(weight, input)
    loss = loss * weight
    return loss.sum() / weight.sum() if reduction == "mean" else reduced(loss, reduction)


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """(ln σ² + (input - target)² / σ²) / 2, the negative log-likelihood of a normal distribution.

    Args:
        input, target: means and values.
        var: the variances σ²: one number, of the shape of ``input``, or without its last dimension or with 1 there.
        full: add the constant ln(2π) / 2.
        eps: what σ² is raised to where it is smaller.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: for a negative or misshapen variance.
    """
    variance = var if isinstance(var, Tensor) else input.new_full(input.shape, var)
    if not variance.is_meta and not valid(~(variance.detach() < 0).any()):
        raise ValueError("var has negative entry/entries")
    if variance.shape != input.shape:
        if input.shape[:-1] == variance.shape:
            variance = variance.unsqueeze(-1)
        elif not _differ_in_a_one(input, variance):
            raise ValueError(f"var is of incorrect size: {list(variance.shape)} for an input of {list(input.shape)}")
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not valid")
    variance = at_least(variance, eps)
    loss = (log(variance) + square(input - target) / variance) * 0.5
    return reduced(loss + 0.5 * math.log(2 * math.pi) if full else loss, reduction)


def _differ_in_a_one(input: Tensor, var: Tensor) -> bool:
    """Whether the shapes are the same but for one dimension of length 1 in ``var``."""
    return input.ndim == var.ndim and sum(v for n, v in zip(input.shape, var.shape, strict=True) if n != v) == 1


@autocasts(FLOAT32)
def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """exp(input) - target · input, the negative log-likelihood of a Poisson distribution.

    Args:
        input: the logarithm of the mean, or with ``log_input=False`` the mean itself.
        target: counts.
        log_input: see ``input``.
        full: add Stirling's approximation of ln(target!), for targets above 1.
        size_average, reduce: older names of reductions.
        eps: added to a mean before its logarithm is taken.
        reduction: "mean", "sum" or "none".
    """
    reduction = chosen_reduction(size_average, reduce, reduction)
    loss = exp(input) - target * input if log_input else input - target * log(input + eps)
    if full:
        large = target > 1
        count = where(large, target, 1.0)
        loss = loss + where(large, count * log(count) - count + log(count * (2 * math.pi)) * 0.5, 0.0)
    return reduced(loss, reduction)


@autocasts(FLOAT32)
def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """target · (ln target - input), the Kullback-Leibler divergence of exp(input) from the target, by element.

    Args:
        input: log-probabilities.
        target: probabilities, or with ``log_target`` their logarithms.
        size_average, reduce: older names of reductions.
        reduction: "batchmean" (the divergence itself, averaged over the first dimension), "mean" (over all
            elements), "sum" or "none".
        log_target: see ``target``.
    """
    by_batch = reduction == "batchmean" and size_average is None and reduce is None
    if reduction == "mean" and size_average is None and reduce is None:
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size. 'batchmean' divides "
            "only by the batch size, and aligns with the KL div math definition.",
            stacklevel=2,
        )
    chosen = chosen_reduction(size_average, reduce, "sum" if by_batch else reduction)
    total = divergence(input, target, chosen, log_target)
    return total / input.shape[0] if by_batch and input.ndim else total


def divergence(input: Tensor, target: Tensor, reduction: str, log_target: bool) -> Tensor:
    """`kl_div` with one of the three usual reductions."""
    if log_target:
        return reduced(exp(target) * (target - input), reduction)
    product = target * input  # first, as in PyTorch, so that its gradient is added last
    return reduced(xlogy(target, target) - product, reduction)
