"""Dropout."""

from __future__ import annotations

from torchlite._tensor import Tensor
from torchlite.ops import random


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """In training each element is 0 with probability ``p`` and divided by 1 - p otherwise (Srivastava et al., 2014).

    Raises:
        ValueError: for a probability outside [0, 1].
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    if not training:
        return input
    out = random.dropout(input, p)
    return input.copy_(out) if inplace else out
