"""Rows of a table by their numbers."""

from __future__ import annotations

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.ops.arithmetic import where
from torchlite.ops.creation import arange


def embedding(input: Tensor, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """The rows of ``weight`` that ``input`` names.

    Shape:
        - input: (*) of integers, weight: (num_embeddings, embedding_dim), result: (*, embedding_dim)

    Args:
        input, weight: as above.
        padding_idx: a row that receives no gradient.

    Raises:
        IndexError: naming an index outside the table and the table's size.
    """
    if input._data.dtype.kind not in "iu":
        raise RuntimeError(f"embedding: expected the indices to have an integer dtype such as int64, got {input.dtype}")
    if not input.is_meta and not input.is_cuda and input.numel() and int(input._data.min()) < 0:
        raise IndexError(
            f"index out of range in self: {int(input._data.min())} for an embedding of {weight.shape[0]} rows"
        )
    if padding_idx is not None:
        row = padding_idx % weight.shape[0]
        frozen = (arange(weight.shape[0], device=weight.device) == row).unsqueeze(1)
        weight = where(frozen, weight.detach(), weight)
    return weight[input]


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Integers as int64 vectors with a single 1; ``num_classes`` -1 takes the largest plus one.

    Raises:
        RuntimeError: for a negative value or one outside the classes.
    """
    if num_classes == -1:
        num_classes = int(tensor.max()) + 1
    if tensor.numel() and not tensor.is_meta and (int(tensor.min()) < 0 or int(tensor.max()) >= num_classes):
        raise RuntimeError(f"Class values must be between 0 and {num_classes - 1}")
    return (tensor.unsqueeze(-1) == arange(num_classes, device=tensor.device)).to(dtypes.int64)
