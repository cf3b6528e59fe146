"""A softmax over many classes that is cheap for the frequent ones."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.nn import functional as F
from torchlite.nn.containers import ModuleList, Sequential
from torchlite.nn.linear import Linear
from torchlite.nn.module import Module
from torchlite.ops.arithmetic import where
from torchlite.ops.gathering import gather
from torchlite.ops.joining import cat
from torchlite.ops.reduction import argmax
from torchlite.tracing import valid


class OutputAndLoss(NamedTuple):
    """The log-probability of each target, and the mean of their negatives."""

    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """Log-probabilities of classes that are sorted by frequency, most frequent first (Grave et al., 2017).

    The head has the classes below the first cutoff and one place for each cluster between two cutoffs; the classes of a
    cluster are computed, from fewer features, only for the samples whose target is among them.

    Args:
        in_features: features of the input.
        n_classes: how many classes there are.
        cutoffs: where clusters begin, ascending, between 1 and n_classes - 1.
        div_value: by how much the features of each cluster are fewer than those of the one before.
        head_bias: whether the head has a bias.
        device, dtype: of the parameters.

    Shape:
        (N, in_features) and classes (N,), or (in_features,) and () → output like the classes, loss ()

    Raises:
        ValueError: for cutoffs that are none.
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: dtypes.dtype | None = None,
    ) -> None:
        super().__init__()
        bounds = list(cutoffs)
        if not bounds:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        if (
            bounds != sorted(set(bounds))
            or bounds[0] <= 0
            or bounds[-1] > n_classes - 1
            or any(int(c) != c for c in bounds)
        ):
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing order, where each "
                f"value is between 1 and n_classes-1, got {bounds} for {n_classes} classes"
            )
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*bounds, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = bounds[0]
        self.n_clusters = len(bounds)
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, bias=head_bias, device=device, dtype=dtype)
        self.tail = ModuleList()
        for i, (low, high) in enumerate(pairwise(self.cutoffs)):
            width = int(in_features // div_value ** (i + 1))
            self.tail.append(
                Sequential(
                    Linear(in_features, width, bias=False, device=device, dtype=dtype),
                    Linear(width, high - low, bias=False, device=device, dtype=dtype),
                )
            )

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        self.head.reset_parameters()
        for cluster in self.tail:
            for layer in cluster:  # type: ignore[attr-defined]
                layer.reset_parameters()

    def forward(self, input_: Tensor, target_: Tensor) -> OutputAndLoss:
        """The log-probability of each target, and the loss."""
        _check_shapes(input_, target_)
        batched = target_.ndim > 0
        input, target = (input_, target_) if batched else (input_.unsqueeze(0), target_.unsqueeze(0))
        if target.numel() and not valid(((target >= 0) & (target < self.n_classes)).all()):
            raise RuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in range "
                f"[{int(target.min())}, {int(target.max())}] were found."
            )
        place = target
        of_head = F.log_softmax(self.head(input), 1)
        parts, rows = [], []
        for i, (low, high) in enumerate(pairwise(self.cutoffs)):
            inside = (target >= low) & (target < high)
            place = where(inside, self.shortlist_size + i, place)
            row = inside.nonzero().squeeze(1)
            if row.numel():
                within = F.log_softmax(self.tail[i](input[row]), 1)
                parts.append(gather(within, 1, (target[row] - low).unsqueeze(1)).squeeze(1))
                rows.append(row)
        output = gather(of_head, 1, place.unsqueeze(1)).squeeze(1)
        if parts:
            output = output.index_add(0, cat(rows), cat(parts))
        loss = (-output).mean()
        return OutputAndLoss(output if batched else output.squeeze(0), loss)

    def log_prob(self, input: Tensor) -> Tensor:
        """The log-probabilities (N, n_classes) of all classes."""
        of_head = F.log_softmax(self.head(input), 1)
        clusters = [
            F.log_softmax(self.tail[i](input), 1) + of_head[:, self.shortlist_size + i].unsqueeze(1)
            for i in range(self.n_clusters)
        ]
        return cat([of_head[:, : self.shortlist_size], *clusters], 1)

    def predict(self, input: Tensor) -> Tensor:
        """The most probable class of each sample; the clusters are looked at where the head says so."""
        best = argmax(self.head(input), 1)
        row = (best >= self.shortlist_size).nonzero().squeeze(1)
        if row.numel():
            best[row] = argmax(self.log_prob(input[row]), 1)
        return best


def _check_shapes(input: Tensor, target: Tensor) -> None:
    if target.ndim > 1:
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    if input.ndim != target.ndim + 1:
        raise RuntimeError(
            f"{target.ndim}D target tensor expects {target.ndim + 1}D input tensors, but found inputs with size "
            f"{list(input.shape)}"
        )
    if target.ndim and len(input) != len(target):
        raise RuntimeError("Input and target should have the same size in the batch dimension.")
