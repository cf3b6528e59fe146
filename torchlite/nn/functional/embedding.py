"""Rows of a table by their numbers."""

from __future__ import annotations

import math

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.autocasting import autocasts
from torchlite.autograd.grad_mode import no_grad
from torchlite.composites.norms import norm
from torchlite.composites.searching import bincount, unique
from torchlite.integers import integer
from torchlite.ir import Autocast
from torchlite.ops.arithmetic import where
from torchlite.ops.creation import arange
from torchlite.ops.joining import cat
from torchlite.ops.scan import max
from torchlite.tracing import active, valid


@autocasts(Autocast(cuda="as given"))
def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,  # noqa: ARG001 - gradients are dense
) -> Tensor:
    """The rows of ``weight`` that ``input`` names.

    Shape:
        - input: (*) of integers, weight: (num_embeddings, embedding_dim), result: (*, embedding_dim)

    Args:
        input, weight: as above.
        padding_idx: a row that receives no gradient.
        max_norm: named rows with a larger norm are first, in ``weight`` itself, scaled down to this one.
        norm_type: the p of that norm.
        scale_grad_by_freq: divide the gradient of each row by how often it is named.
        sparse: for PyTorch's sake; gradients are dense here.

    Raises:
        IndexError: naming an index outside the table and the table's size.
        RuntimeError: for indices that are no integers, or a weight that is no matrix.
    """
    _check_table("embedding", input, weight)
    if max_norm is not None:
        limit_rows(weight, input, max_norm, norm_type)
    rows = _rows(weight, input, scale_grad_by_freq)
    if padding_idx is None or not rows.requires_grad:
        return rows
    return where((input == _row_number(padding_idx, weight)).unsqueeze(-1), rows.detach(), rows)


def _check_table(name: str, input: Tensor, weight: Tensor) -> None:
    if weight.ndim != 2:
        raise RuntimeError(f"{name}: 'weight' must be 2-D, got shape {list(weight.shape)}")
    if input._data.dtype.kind not in "iu":
        raise RuntimeError(f"{name}: expected the indices to have an integer dtype such as int64, got {input.dtype}")
    if input.is_cuda:  # a check would wait for the device
        return
    if active.tracer is not None:
        valid((input >= 0).all())
    elif not input.is_meta and input.numel() and int(input._data.min()) < 0:
        raise IndexError(
            f"index out of range in self: {int(input._data.min())} for an embedding of {weight.shape[0]} rows"
        )


def _row_number(padding_idx: int, weight: Tensor) -> int:
    rows = weight.shape[0]
    if not -rows <= padding_idx < rows:
        raise AssertionError(f"Padding_idx must be within num_embeddings, got {padding_idx} for {rows} rows")
    return integer(padding_idx) % rows


def _rows(weight: Tensor, index: Tensor, scale_grad_by_freq: bool) -> Tensor:
    rows = weight[index.reshape(-1)].squeeze(0) if index.ndim == 0 else weight[index]  # no view of the table
    if scale_grad_by_freq and rows.requires_grad:
        counts = bincount(index.reshape(-1))[index].unsqueeze(-1)
        rows.register_hook(lambda g: g / counts)
    return rows


def limit_rows(weight: Tensor, index: Tensor, max_norm: float, norm_type: float) -> None:
    """Scale the rows of ``weight`` that are named and longer than ``max_norm`` down to it, in place."""
    with no_grad():
        named = unique(index)
        rows = weight[named]
        lengths = norm(rows, norm_type, 1, keepdim=True)
        weight[named] = where(lengths > max_norm, rows * (max_norm / (lengths + 1e-7)), rows)


@autocasts(Autocast(cuda="as given"))
def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Sums, means or maxima of bags of rows of ``weight``; zeros for an empty bag.

    Shape:
        - input: (B, L), B bags of L indices; or (N,), with ``offsets`` (B,), where each bag begins
        - weight: (num_embeddings, embedding_dim), result: (B, embedding_dim)

    Args:
        input, weight, offsets: as above.
        max_norm, norm_type, scale_grad_by_freq: as in `embedding`.
        mode: "sum", "mean" or "max".
        sparse: for PyTorch's sake; gradients are dense here.
        per_sample_weights: a factor for each index, with mode "sum".
        include_last_offset: ``offsets`` has the end of the last bag as one more entry.
        padding_idx: a row that does not count.

    Raises:
        ValueError: for arguments that contradict each other.
        RuntimeError: for a weight that is no matrix, or offsets that do not begin at 0.
    """
    if weight._data.dtype.kind in "iu" and input.is_floating_point():  # the order of arguments in PyTorch's first years
        input, weight = weight, input
    _check_bags(input, weight, offsets, mode, scale_grad_by_freq, sparse, per_sample_weights)
    _check_table("embedding_bag", input, weight)
    if max_norm is not None:
        limit_rows(weight, input, max_norm, norm_type)
    if offsets is None:
        index, factors = input, per_sample_weights
        present = None
    else:
        place, present = _places(input, offsets, include_last_offset)
        index = input[place]
        factors = None if per_sample_weights is None else per_sample_weights[place]
    if padding_idx is not None:
        counted = index != _row_number(padding_idx, weight)
        present = counted if present is None else present & counted
    rows = _rows(weight, index, scale_grad_by_freq)  # (B, L, embedding_dim)
    if factors is not None:
        rows = rows * factors.unsqueeze(-1)
    return _bagged(rows, present, mode)


def _bagged(rows: Tensor, present: Tensor | None, mode: str) -> Tensor:
    if rows.shape[1] == 0:
        return rows.sum(1)
    if mode == "max":
        if present is None:
            return max(rows, 1).values
        largest = max(where(present.unsqueeze(-1), rows, -math.inf), 1).values
        return where(present.any(1, keepdim=True), largest, 0.0)
    total = (rows if present is None else where(present.unsqueeze(-1), rows, 0.0)).sum(1)
    if mode == "sum":
        return total
    if present is None:
        return total / rows.shape[1]
    return total / present.sum(1, keepdim=True).clamp(min=1)


def _places(input: Tensor, offsets: Tensor, include_last_offset: bool) -> tuple[Tensor, Tensor]:
    """Where in ``input`` the entries of each bag are, (B, length of the longest), and which of them there are."""
    if offsets.numel() and int(offsets[0]) != 0:
        raise RuntimeError(
            f"offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from position 0. "
            f"However, got {int(offsets[0])}"
        )
    if offsets.numel() and int(offsets[-1]) > input.numel():
        raise RuntimeError(
            f"offsets[-1] can not be greater than input's length {input.numel()} but got offsets[-1] of {int(offsets[-1])}"
        )
    if include_last_offset:
        starts, ends = offsets[:-1], offsets[1:]
    else:
        starts, ends = offsets, cat([offsets[1:], offsets.new_full((1,), input.numel())])
    lengths = (ends - starts).unsqueeze(1)
    longest = int(lengths.max()) if lengths.numel() else 0
    step = arange(longest, device=input.device)
    present = step < lengths
    return where(present, starts.unsqueeze(1) + step, 0).to(dtypes.int64), present


def _check_bags(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None,
    mode: str,
    scale_grad_by_freq: bool,
    sparse: bool,
    per_sample_weights: Tensor | None,
) -> None:
    if per_sample_weights is not None and input.shape != per_sample_weights.shape:
        raise ValueError(
            f"embedding_bag: If per_sample_weights ({list(per_sample_weights.shape)}) is not None, then it must have "
            f"the same shape as the input ({list(input.shape)})"
        )
    if weight.ndim != 2:
        raise ValueError(f"weight has to be a 2D Tensor, but got Tensor of dimension {weight.ndim}")
    if input.ndim not in (1, 2):
        raise ValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.ndim}")
    if input.ndim == 2 and offsets is not None:
        raise ValueError("if input is 2D, then offsets has to be None, as each row is one bag")
    if input.ndim == 1 and (offsets is None or offsets.ndim != 1):
        raise ValueError("offsets has to be a 1D Tensor" + (" but got None" if offsets is None else ""))
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"mode has to be one of sum, mean or max, got {mode!r}")
    if mode == "max" and scale_grad_by_freq:
        raise ValueError("max mode does not support scaling the gradient by the frequency")
    if mode == "max" and sparse:
        raise ValueError("max mode does not support sparse weights")
    if per_sample_weights is not None and mode != "sum":
        raise RuntimeError(f"embedding_bag: per_sample_weights is only supported for mode='sum' (got mode={mode!r})")


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Integers as int64 vectors with a single 1; ``num_classes`` -1 takes the largest plus one.

    Raises:
        RuntimeError: for a tensor that is not int64, a negative value or one outside the classes.
    """
    if tensor.dtype is not dtypes.int64:
        raise RuntimeError(f"one_hot is only applicable to index tensor of type LongTensor, got {tensor.dtype}")
    if num_classes == -1:
        if tensor.numel() == 0:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
        num_classes = int(tensor.max()) + 1
    if tensor.numel() and not tensor.is_meta and not valid(((tensor >= 0) & (tensor < num_classes)).all()):
        raise RuntimeError(f"Class values must be between 0 and {num_classes - 1}")
    return (tensor.unsqueeze(-1) == arange(num_classes, device=tensor.device)).to(dtypes.int64)
