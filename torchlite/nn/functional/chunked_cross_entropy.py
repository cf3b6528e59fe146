"""The cross-entropy of a linear layer's results, without all of them in memory at once."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.autocasting import autocasts
from torchlite.ir import Autocast
from torchlite.nn.functional.class_loss import cross_entropy
from torchlite.nn.functional.linear import linear
from torchlite.nn.functional.reduction import reduced
from torchlite.ops.arithmetic import where
from torchlite.ops.joining import cat
from torchlite.utils.checkpoint import checkpoint


@dataclass
class LinearCrossEntropyOptions:
    """How `linear_cross_entropy` divides the batch.

    Attributes:
        allow_retain_graph: for PyTorch's sake; backward can always be called again here.
        batch_chunk_size: how many rows are computed together.
        chunking_method: where that is None: "aspect_ratio:N" makes the logits of a chunk take an N-th of the memory
            that the input takes; "auto" is "aspect_ratio:2", and None one chunk.
        acc_policy, acc_dtype: for PyTorch's sake; sums are those of the input's dtype.
    """

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: str = "auto"
    acc_dtype: dtypes.dtype | None = None

    def __post_init__(self) -> None:
        if self.acc_policy not in ("auto", "accurate", "balanced", "compact"):
            raise ValueError(f"invalid acc_policy: {self.acc_policy!r}")
        if self.chunking_method not in (None, "auto"):
            name, _, factor = str(self.chunking_method).partition(":")
            if name != "aspect_ratio" or not (factor or "1").isdigit() or int(factor or 1) < 1:
                raise ValueError(f"invalid chunking_method: {self.chunking_method!r}")
        if self.batch_chunk_size is not None and (type(self.batch_chunk_size) is not int or self.batch_chunk_size < 1):
            raise ValueError(f"batch_chunk_size must be positive int or None, got {self.batch_chunk_size!r}")


def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: Any = None,
) -> Tensor:
    """`cross_entropy` of `linear` of ``input``.

    With ``options`` and class indices the logits are computed chunk by chunk, and again in backward, so that those of
    one chunk are in memory at any time.

    Shape:
        - input: (N, in_features) or (in_features,); linear_weight: (C, in_features) or (C, *, in_features)
        - linear_bias: (C, *); target: as in `cross_entropy` for logits (N, C, *)

    Args:
        input, linear_weight, target, linear_bias: as above.
        weight, reduction, ignore_index, label_smoothing: as in `cross_entropy`.
        options: `LinearCrossEntropyOptions`.

    Raises:
        RuntimeError: naming the shapes that do not fit.
    """
    logits_shape = _check_shapes(input, linear_weight, linear_bias)
    if tuple(target.shape) == logits_shape and ignore_index is not None:
        raise RuntimeError("ignore_index cannot be specified when target contains probabilities")
    settings: dict[str, Any] = {
        "weight": weight,
        "reduction": reduction,
        "ignore_index": -100 if ignore_index is None else ignore_index,
    }
    if options is not None:
        if linear_weight.ndim == 2 and target.dtype is dtypes.int64 and label_smoothing == 0:
            return _by_chunks(input, linear_weight, linear_bias, target, settings, options)
        warnings.warn(
            "linear_cross_entropy: options ignored: chunks need class indices, a weight of two dimensions and no label "
            "smoothing",
            stacklevel=2,
        )
    logits = linear(
        input,
        linear_weight.reshape(-1, linear_weight.shape[-1]),
        None if linear_bias is None else linear_bias.reshape(-1),
    )
    return cross_entropy(logits.reshape(logits_shape), target, label_smoothing=label_smoothing, **settings)


def _check_shapes(input: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[int, ...]:
    """The shape of the logits."""
    if input.ndim not in (1, 2):
        raise RuntimeError(f"expected input with dimensionality 1 or 2, got {input.ndim}")
    if weight.ndim < 2:
        raise RuntimeError(f"expected linear_weight with dimensionality at least 2, got {weight.ndim}")
    if input.shape[-1] != weight.shape[-1]:
        raise RuntimeError(
            "expected equal input and linear_weight last dimensions (in_features), got "
            f"{input.shape[-1]} and {weight.shape[-1]}, respectively"
        )
    features = tuple(weight.shape[:-1])
    if bias is not None and tuple(bias.shape) != features:
        raise RuntimeError(f"expected linear_bias shape {features}, got {tuple(bias.shape)}")
    if weight.ndim > 2 and input.ndim == 1:
        raise RuntimeError(
            f"K-dimensional loss defined by linear_weight shape {tuple(weight.shape)} requires batched input, "
            f"(N, {input.shape[-1]}), got unbatched input with shape {tuple(input.shape)}"
        )
    return (*input.shape[:-1], *features)


@autocasts(Autocast("as given", "as given"))
def _by_chunks(
    input: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, settings: dict[str, Any], options: Any
) -> Tensor:
    rows, labels = (input.unsqueeze(0), target.unsqueeze(0)) if input.ndim == 1 else (input, target)
    size = _chunk_size(options, len(rows), *weight.shape)
    every = {**settings, "reduction": "none"}

    def losses(x: Tensor, y: Tensor, weight: Tensor, *bias: Tensor) -> Tensor:
        return cross_entropy(linear(x, weight, *bias), y, **every)

    parameters = (weight,) if bias is None else (weight, bias)
    chunks = [
        checkpoint(losses, rows[i : i + size], labels[i : i + size], *parameters, use_reentrant=False)
        for i in range(0, len(rows), size)
    ]
    loss = cat(chunks)
    if settings["reduction"] == "mean":
        counted = labels != settings["ignore_index"]
        factors = settings["weight"]
        share = counted if factors is None else where(counted, factors[where(counted, labels, 0)], 0.0)
        return loss.sum() / share.sum()
    return reduced(loss if input.ndim == 2 else loss.squeeze(0), settings["reduction"])


def _chunk_size(options: Any, rows: int, classes: int, features: int) -> int:
    if options.batch_chunk_size is not None:
        return int(options.batch_chunk_size)
    method = "aspect_ratio:2" if options.chunking_method == "auto" else options.chunking_method
    if method is None or rows == 0:
        return max(rows, 1)
    parts = int(method.partition(":")[2] or 1)
    fitting = -(-rows // -(-classes // max(features, 1)))  # rows whose logits take the memory of the whole input
    return max(2 ** math.ceil(math.log2(max(fitting, 1))) // parts, 1)
