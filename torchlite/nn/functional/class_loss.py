"""Losses against classes: one of several, or several of them."""

from __future__ import annotations

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.autocasting import autocasts
from torchlite.batching.level import levels, whole
from torchlite.dispatch import apply
from torchlite.ir import FLOAT32
from torchlite.nn.functional.reduction import chosen_reduction, reduced
from torchlite.ops.arithmetic import clamp, where
from torchlite.ops.creation import arange
from torchlite.ops.cross_entropy import cross_entropy as rows_against_classes
from torchlite.ops.cross_entropy import takes
from torchlite.ops.gathering import gather, gather_op, scatter_reduce
from torchlite.ops.products import cumprod
from torchlite.ops.softmax import log_softmax
from torchlite.tracing import active, expect, valid


@autocasts(FLOAT32)
def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-weight[tᵢ] · inputᵢ[tᵢ], the negative log-likelihood of the target classes.

    The mean is over the weights of the targets that are not ``ignore_index``.

    Shape:
        - input: (N, C, *) or (C,), log-probabilities; target: (N, *) or (), integers; weight: (C,)
    """
    return _negative_likelihood(input, target, weight, ignore_index, chosen_reduction(size_average, reduce, reduction))


def _negative_likelihood(
    input: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str
) -> Tensor:
    dim = 0 if input.ndim == 1 else 1
    _check_fit(input, target, weight, dim)
    _check_range(input, target, dim, ignore_index)
    counted = target != ignore_index
    every = target.is_meta or expect(whole(counted).all())
    chosen = target if every else where(counted, target, 0)
    loss = -apply(gather_op, (input, chosen.unsqueeze(dim)), {"dim": dim}).squeeze(dim)  # the classes are checked above
    if weight is not None:
        scale = where(counted, weight[chosen], 0.0)
        loss = loss * scale
        return loss.sum() / scale.sum() if reduction == "mean" else reduced(loss, reduction)
    if every:
        return reduced(loss, reduction)
    loss = where(counted, loss, 0.0)
    return loss.sum() / counted.sum() if reduction == "mean" else reduced(loss, reduction)


@autocasts(FLOAT32)
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-Σ_c q_c log softmax(input)_c, where q is the target class or distribution, smoothed towards uniform.

    Args:
        input: logits (N, C, *) or (C,).
        target: class indices (N, *) or (), or probabilities of the shape of ``input``.
        weight: a weight for each class.
        size_average, reduce: older names of reductions.
        ignore_index: a class index that does not count.
        reduction: "mean" (by the weights of the targets), "sum" or "none".
        label_smoothing: how much of the target's mass is spread over all classes, in [0, 1].

    Raises:
        RuntimeError: naming the shapes where they do not fit, and the class index that is out of range.
    """
    reduction = chosen_reduction(size_average, reduce, reduction)
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    dim = 0 if input.ndim == 1 else 1
    by_classes = not target.ndim or target.shape != input.shape
    if by_classes and weight is None and not label_smoothing and takes(input, target) and not levels.stack:
        _check_fit(input, target, weight, dim)
        if active.tracer is not None:
            _check_range(input, target, dim, ignore_index)
        return rows_against_classes(input, target, ignore_index, reduction)
    logp = log_softmax(input, dim)
    if not by_classes:
        return _against_probabilities(logp, target, weight, ignore_index, reduction, label_smoothing, dim)
    sharp = _negative_likelihood(logp, target, weight, ignore_index, reduction)
    if not label_smoothing:
        return sharp
    counted = target != ignore_index
    smooth = where(counted, -_weighted_classes(logp, weight, dim).sum(dim), 0.0)
    if reduction == "mean":
        norm = counted.sum() if weight is None else where(counted, weight[where(counted, target, 0)], 0.0).sum()
        smooth = smooth.sum() / norm
    else:
        smooth = reduced(smooth, reduction)
    return sharp * (1 - label_smoothing) + smooth * (label_smoothing / input.shape[dim])


def _against_probabilities(
    logp: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
    dim: int,
) -> Tensor:
    if not target.is_floating_point():
        raise RuntimeError(
            f"Expected floating point type for target with class probabilities, got {target.dtype}: a target of the shape "
            "of the logits holds probabilities"
        )
    if ignore_index >= 0:
        raise RuntimeError("ignore_index is not supported for floating point target")
    classes = logp.shape[dim]
    if label_smoothing:
        target = target * (1 - label_smoothing) + label_smoothing / classes
    loss = -_weighted_classes(logp * target, weight, dim).sum(dim)
    return loss.sum() / (logp.numel() // classes) if reduction == "mean" else reduced(loss, reduction)


def _weighted_classes(x: Tensor, weight: Tensor | None, dim: int) -> Tensor:
    return x if weight is None else x * weight.view([-1 if d == dim else 1 for d in range(x.ndim)])


def _check_fit(input: Tensor, target: Tensor, weight: Tensor | None, dim: int) -> None:
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
    if weight is not None and tuple(weight.shape) != (input.shape[dim],):
        raise RuntimeError(
            f"weight tensor should be defined either for all {input.shape[dim]} classes or no classes but got weight tensor "
            f"of shape: {list(weight.shape)}"
        )


def _check_range(input: Tensor, target: Tensor, dim: int, ignore_index: int) -> None:
    """Whether every target is one of the classes."""
    if target.is_meta or target.is_cuda or target.numel() == 0:
        return
    if active.tracer is not None:
        valid(((target == ignore_index) | ((target >= 0) & (target < input.shape[dim]))).all())
        return
    labels, classes = whole(target)._data, input.shape[dim]
    if labels.min() < 0 or labels.max() >= classes:
        outside = labels[((labels < 0) | (labels >= classes)) & (labels != ignore_index)]
        if outside.size:
            raise IndexError(f"Target {outside[0]} is out of bounds: the logits have {classes} classes")


@autocasts(FLOAT32)
def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Σ_{j≠t} max(0, margin - x_t + x_j)ᵖ · weight_t / C for the class t of each sample.

    Shape:
        - input: (N, C) or (C,); target: (N,) or (), integers; weight: (C,)

    Raises:
        ValueError: for ``p`` other than 1 and 2, and for a weight that is not one-dimensional.
        RuntimeError: for shapes that do not fit and targets that are no classes.
    """
    reduction = chosen_reduction(size_average, reduce, reduction)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    if weight is not None and weight.ndim != 1:
        raise ValueError("weight must be one-dimensional")
    input = _scores(input)
    classes = input.shape[-1]
    if list(target.shape) != list(input.shape[:-1]) and not (input.ndim == 1 and target.numel() == 1):
        raise RuntimeError(
            "target tensor should be 1-D with size equal to the input's first dimension. Expected target size "
            f"{list(input.shape[:-1])}, but got {list(target.shape)}"
        )
    _check_integers("multi_margin_loss", target)
    if weight is not None and weight.numel() != classes:
        raise RuntimeError(f"inconsistent weight size, expected {classes} but got {list(weight.shape)}")
    index = target.reshape((*input.shape[:-1], 1))
    if not index.is_meta and index.numel() and not valid(((index >= 0) & (index < classes)).all()):
        raise RuntimeError(f"target out of range: the input has {classes} classes")
    lack = clamp(input - gather(input, -1, index) + margin, min=0)
    if p == 2:
        lack = lack * lack
    others = where(arange(classes, device=input.device) == index, 0.0, lack)
    loss = others if weight is None else others * weight[index]
    return reduced(loss.sum(-1) / classes, reduction)


@autocasts(FLOAT32)
def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Σ max(0, 1 - x_j + x_i) / C over the labels j of each sample and the classes i that are no labels.

    Shape:
        - input: (N, C) or (C,); target: the same, integers: the labels, and -1 behind the last one

    Raises:
        RuntimeError: for shapes that do not fit and targets that are no classes.
    """
    reduction = chosen_reduction(size_average, reduce, reduction)
    input = _scores(input)
    if target.ndim == 0:
        target = target.reshape(1)
    if target.shape != input.shape:
        raise RuntimeError(f"inconsistent target size: {list(target.shape)} for input of size: {list(input.shape)}")
    _check_integers("multilabel_margin_loss", target)
    classes = input.shape[-1]
    if not target.is_meta and target.numel() and not valid(((target >= -1) & (target < classes)).all()):
        raise RuntimeError(f"argument target is out of range: it has labels outside [-1, {classes - 1}]")
    named = cumprod((target >= 0).to(dtypes.int64), -1)
    labels = target * named
    is_label = scatter_reduce(named.new_zeros(named.shape), -1, labels, named, "amax") > 0
    lack = clamp(input.unsqueeze(-2) - gather(input, -1, labels).unsqueeze(-1) + 1, min=0)  # (N, label, class)
    counted = named.to(dtypes.bool_).unsqueeze(-1) & ~is_label.unsqueeze(-2)
    return reduced(where(counted, lack, 0.0).sum((-2, -1)) / classes, reduction)


def _scores(input: Tensor) -> Tensor:
    """The input with a dimension of classes, once that is known to be there."""
    if input.ndim == 0:
        return input.reshape(1)
    if input.ndim > 2 or input.shape[-1] == 0:
        raise RuntimeError(
            f"Expected non-empty vector or matrix with optional 0-dim batch size, but got: {list(input.shape)}"
        )
    return input


def _check_integers(name: str, target: Tensor) -> None:
    if target._data.dtype.kind not in "iu":
        raise RuntimeError(f"{name}: expected scalar type Long but found {target.dtype}; use target.long()")
