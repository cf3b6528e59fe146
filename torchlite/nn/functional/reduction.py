"""How losses of elements become one number."""

from __future__ import annotations

import warnings

from torchlite._tensor import Tensor

REDUCTIONS = ("none", "mean", "sum")


def reduced(loss: Tensor, reduction: str) -> Tensor:
    """``loss`` averaged ("mean"), summed ("sum") or as it is ("none").

    Raises:
        ValueError: for another reduction.
    """
    if reduction == "mean":
        return loss.mean()
    if reduction == "sum":
        return loss.sum()
    check_reduction(reduction)
    return loss


def check_reduction(reduction: str) -> None:
    """Raise a ValueError for anything but "none", "mean" and "sum"."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"{reduction} is not a valid value for reduction: use 'mean', 'sum' or 'none'")


def chosen_reduction(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """The reduction that the arguments of a loss ask for, the two of PyTorch's first years included.

    Raises:
        ValueError: for one that is none of the three.
    """
    chosen = older_reduction(size_average, reduce, reduction)
    check_reduction(chosen)
    return chosen


def older_reduction(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """``reduction``, or what the two arguments of PyTorch's first years, where given, mean in its place."""
    if size_average is None and reduce is None:
        return reduction
    if reduce is False:
        chosen = "none"
    else:
        chosen = "sum" if size_average is False else "mean"
    warnings.warn(
        f"size_average and reduce args will be deprecated, please use reduction='{chosen}' instead.", stacklevel=4
    )
    return chosen
