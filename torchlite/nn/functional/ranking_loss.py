"""Losses of pairs and triplets: what belongs together is to be near, everything else at a margin."""

from __future__ import annotations

from collections.abc import Callable

from torchlite._tensor import Tensor
from torchlite.autocasting import autocasts
from torchlite.ir import FLOAT32
from torchlite.nn.functional.distance import pairwise_distance
from torchlite.nn.functional.reduction import check_reduction, chosen_reduction, reduced
from torchlite.ops.arithmetic import clamp, minimum, where

_LEAST_SQUARE = 1e-12


@autocasts(FLOAT32)
def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, -y(x₁ - x₂) + margin): y = 1 says that x₁ is to be the larger, -1 that x₂ is.

    Raises:
        RuntimeError: when the numbers of dimensions differ.
    """
    reduction = chosen_reduction(size_average, reduce, reduction)
    if not input1.ndim == input2.ndim == target.ndim:
        raise RuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: "
            f"input1: {list(input1.shape)}, input2: {list(input2.shape)}, target: {list(target.shape)}"
        )
    return reduced(clamp(-target * (input1 - input2) + margin, min=0), reduction)


@autocasts(FLOAT32)
def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The distance x where y = 1, and max(0, margin - x) where y = -1."""
    reduction = chosen_reduction(size_average, reduce, reduction)
    apart = where(target != 1, clamp(margin - input, min=0), 0.0)
    together = where(target != -1, input, 0.0)
    return reduced(apart + together, reduction)


@autocasts(FLOAT32)
def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """1 - cos(x₁, x₂) where y = 1, and max(0, cos(x₁, x₂) - margin) where y = -1.

    Shape:
        - input1, input2: (N, D) and target: (N,), or (D,) and ()

    Raises:
        RuntimeError: for other shapes.
    """
    reduction = chosen_reduction(size_average, reduce, reduction)
    if target.ndim > 1:
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    if not input1.ndim == input2.ndim == target.ndim + 1:
        raise RuntimeError(
            f"{target.ndim}D target tensor expects {target.ndim + 1}D input tensors, but found inputs with sizes "
            f"{list(input1.shape)} and {list(input2.shape)}."
        )
    product = (input1 * input2).sum(-1)  # first, as in PyTorch, so that its gradient is added last
    lengths = [(x * x).sum(-1) + _LEAST_SQUARE for x in (input1, input2)]
    cosine = product / (lengths[0] * lengths[1]).sqrt()
    together = where(target == 1, 1 - cosine, 0.0)
    apart = where(target == -1, clamp(cosine - margin, min=0), 0.0)
    return reduced(together + apart, reduction)


@autocasts(FLOAT32)
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, d(anchor, positive) - d(anchor, negative) + margin) of distances along the last dimension.

    Args:
        anchor, positive, negative: tensors of equally many dimensions.
        margin: a positive number.
        p, eps: of the distance, see `pairwise_distance`.
        swap: let the positive be the anchor where it is nearer to the negative (Balntas et al., 2016).
        size_average, reduce: older names of reductions.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: for a margin that is not positive.
        RuntimeError: when the numbers of dimensions differ.
    """
    reduction = chosen_reduction(size_average, reduce, reduction)

    def distance(x: Tensor, y: Tensor) -> Tensor:
        return pairwise_distance(x, y, p, eps)

    return triplet_margin_with_distance_loss(
        anchor, positive, negative, distance_function=distance, margin=margin, swap=swap, reduction=reduction
    )


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """`triplet_margin_loss` of any distance; `pairwise_distance` where none is given."""
    check_reduction(reduction)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: "
            f"anchor {anchor.ndim}D, positive {positive.ndim}D, and negative {negative.ndim}D inputs"
        )
    distance = pairwise_distance if distance_function is None else distance_function
    to_positive, to_negative = distance(anchor, positive), distance(anchor, negative)
    if swap:
        to_negative = minimum(to_negative, distance(positive, negative))
    return reduced(clamp(to_positive - to_negative + margin, min=0), reduction)
