"""Losses."""

from __future__ import annotations

from torchlite._tensor import Tensor
from torchlite.dispatch import apply
from torchlite.ops.arithmetic import where
from torchlite.ops.indexing import gather_op
from torchlite.ops.pointwise import exp, log1p, relu
from torchlite.ops.softmax import log_softmax


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """-weight[tᵢ] · inputᵢ[tᵢ], the negative log-likelihood of the target classes.

    The mean is over the weights of the targets that are not ``ignore_index``.

    Shape:
        - input: (N, C, *) or (C,), log-probabilities; target: (N, *) or (), integers; weight: (C,)
    """
    dim = 0 if input.ndim == 1 else 1
    _check_classes(input, target, dim, ignore_index)
    counted = target != ignore_index
    every = target.is_meta or bool(counted.all())
    chosen = target if every else where(counted, target, 0)
    loss = -apply(gather_op, (input, chosen.unsqueeze(dim)), {"dim": dim}).squeeze(dim)  # the classes are checked above
    if weight is not None:
        scale = where(counted, weight[chosen], 0.0)
        loss = loss * scale
        return loss.sum() / scale.sum() if reduction == "mean" else _reduced(loss, reduction)
    if every:
        return _reduced(loss, reduction)
    loss = where(counted, loss, 0.0)
    return loss.sum() / counted.sum() if reduction == "mean" else _reduced(loss, reduction)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-Σ_c q_c log softmax(input)_c, where q is the target class or distribution, smoothed towards uniform.

    Args:
        input: logits (N, C, *) or (C,).
        target: class indices (N, *) or (), or probabilities of the shape of ``input``.
        weight: a weight for each class.
        ignore_index: a class index that does not count.
        reduction: "mean" (by the weights of the targets), "sum" or "none".
        label_smoothing: how much of the target's mass is spread over all classes, in [0, 1].

    Raises:
        RuntimeError: naming the shapes where they do not fit, and the class index that is out of range.
    """
    dim = 0 if input.ndim == 1 else 1
    logp = log_softmax(input, dim)
    classes = input.shape[dim]
    if target.is_floating_point():
        if target.shape != input.shape:
            raise RuntimeError(
                f"cross_entropy: target probabilities have shape {list(target.shape)}, but the logits have {list(input.shape)}"
            )
        q = target * (1 - label_smoothing) + label_smoothing / classes if label_smoothing else target
        spread = (
            logp * q if weight is None else logp * q * weight.view([-1 if d == dim else 1 for d in range(input.ndim)])
        )
        loss = -spread.sum(dim)
        return loss.sum() / (input.numel() // classes) if reduction == "mean" else _reduced(loss, reduction)
    sharp = nll_loss(logp, target, weight, ignore_index, reduction)
    if not label_smoothing:
        return sharp
    counted = target != ignore_index
    per_class = -logp if weight is None else -logp * weight.view([-1 if d == dim else 1 for d in range(input.ndim)])
    smooth = where(counted, per_class.sum(dim), 0.0)
    if reduction == "mean":
        norm = counted.sum() if weight is None else where(counted, weight[where(counted, target, 0)], 0.0).sum()
        smooth = smooth.sum() / norm
    else:
        smooth = _reduced(smooth, reduction)
    return sharp * (1 - label_smoothing) + smooth * (label_smoothing / classes)


def _check_classes(input: Tensor, target: Tensor, dim: int, ignore_index: int) -> None:
    expected = [n for d, n in enumerate(input.shape) if d != dim]
    if dim == 1 and target.ndim and target.shape[0] != input.shape[0]:
        raise ValueError(
            f"Expected input batch_size ({input.shape[0]}) to match target batch_size ({target.shape[0]})."
        )
    if list(target.shape) != expected:
        raise RuntimeError(
            f"cross_entropy: logits of shape {list(input.shape)} need a target of class indices of shape {expected}, "
            f"but got shape {list(target.shape)}"
        )
    if target._data.dtype.kind not in "iu":
        raise RuntimeError(
            f"cross_entropy: the target must hold class indices (int64), got {target.dtype}; use target.long()"
        )
    if target.is_meta or target.is_cuda or target.numel() == 0:
        return
    low, high = int(target._data.min()), int(target._data.max())
    if low < 0 or high >= input.shape[dim]:
        outside = [t for t in (low, high) if not 0 <= t < input.shape[dim] and t != ignore_index]
        if outside:
            raise IndexError(f"Target {outside[0]} is out of bounds: the logits have {input.shape[dim]} classes")


def mse_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """(input - target)², averaged, summed or as it is.

    Raises:
        RuntimeError: when the shapes differ; a silent broadcast would hide a mistake.
    """
    _same_shape("mse_loss", input, target)
    return _reduced((input - target).square(), reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """-(pos_weight · y ln σ(x) + (1 - y) ln(1 - σ(x))) · weight, without overflow.

    Raises:
        ValueError: when the shapes of input and target differ.
    """
    if input.shape != target.shape:
        raise ValueError(f"Target size ({list(target.shape)}) must be the same as input size ({list(input.shape)})")
    log_not = log1p(exp(-input.abs())) + relu(-input)  # -ln σ(x)
    if pos_weight is None:
        loss = (1 - target) * input + log_not
    else:
        loss = (1 - target) * input + (1 + (pos_weight - 1) * target) * log_not
    return _reduced(loss if weight is None else loss * weight, reduction)


def _same_shape(name: str, input: Tensor, target: Tensor) -> None:
    if input.shape != target.shape:
        raise RuntimeError(
            f"{name}: input has shape {list(input.shape)} and target {list(target.shape)}; make them equal with "
            ".reshape() or .unsqueeze()"
        )


def _reduced(loss: Tensor, reduction: str) -> Tensor:
    if reduction == "mean":
        return loss.mean()
    if reduction == "sum":
        return loss.sum()
    if reduction != "none":
        raise ValueError(f"{reduction} is not a valid value for reduction: use 'mean', 'sum' or 'none'")
    return loss
