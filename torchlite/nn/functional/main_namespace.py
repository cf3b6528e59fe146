"""Functions of ``import torch`` that `torch.nn.functional` has too, with other arguments or in another order.

They are what the functions there end in. A reduction is a number here: 0 is "none", 1 "mean", 2 "sum".
"""

from __future__ import annotations

from typing import Any

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.composites.norms import norm
from torchlite.nn.functional import binary_loss, ranking_loss, regression_loss, sequence_loss
from torchlite.nn.functional import normalization as norms
from torchlite.nn.functional.dropout import alpha_dropout as drop_alpha
from torchlite.nn.functional.dropout import channel_dropout as drop_channels
from torchlite.nn.functional.dropout import dropout as drop
from torchlite.nn.functional.dropout import feature_alpha_dropout as drop_alpha_channels
from torchlite.nn.functional.embedding import embedding as rows_of
from torchlite.nn.functional.embedding import limit_rows
from torchlite.nn.functional.reduction import REDUCTIONS
from torchlite.ops.creation import ones_like


def dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """Each element 0 with probability ``p`` and divided by 1 - p otherwise."""
    return drop(input, p, train)


def dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """In-place form of `dropout`."""
    return drop(input, p, train, inplace=True)


def feature_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """`dropout` of whole channels of (N, C, *)."""
    return drop_channels(input, p, train)


def feature_dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """In-place form of `feature_dropout`."""
    return drop_channels(input, p, train, inplace=True)


def alpha_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """Dropout that keeps mean 0 and variance 1 behind SELU."""
    return drop_alpha(input, p, train)


def alpha_dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """In-place form of `alpha_dropout`."""
    return drop_alpha(input, p, train, inplace=True)


def feature_alpha_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """`alpha_dropout` of whole channels of (N, C, *)."""
    return drop_alpha_channels(input, p, train)


def feature_alpha_dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """In-place form of `feature_alpha_dropout`."""
    return drop_alpha_channels(input, p, train, inplace=True)


def native_dropout(input: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor]:
    """`dropout` and which elements it kept."""
    if train is False:
        return input.clone(), ones_like(input, dtype=dtypes.bool_)
    kept = drop(ones_like(input.detach()), p) != 0
    return input * kept * (0.0 if p == 1 else 1 / (1 - p)), kept


def batch_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,  # noqa: ARG001 - PyTorch's signature
) -> Tensor:
    """Normalisation over the batch; see `torchlite.nn.functional.batch_norm`."""
    return norms.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


def instance_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,  # noqa: ARG001 - PyTorch's signature
) -> Tensor:
    """Normalisation within each sample; see `torchlite.nn.functional.instance_norm`."""
    return norms.instance_norm(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)


def norm_except_dim(v: Tensor, pow: int = 2, dim: int = 0) -> Tensor:
    """The norm over all dimensions but ``dim``, which stay as length 1; over all where ``dim`` is -1."""
    if dim == -1:
        return norm(v, pow)
    kept = v._checked_dim(dim)
    return norm(v, pow, [d for d in range(v.ndim) if d != kept], keepdim=True)


def embedding(
    weight: Tensor, indices: Tensor, padding_idx: int = -1, scale_grad_by_freq: bool = False, sparse: bool = False
) -> Tensor:
    """The rows of ``weight`` that ``indices`` name; see `torchlite.nn.functional.embedding`."""
    padding = padding_idx if padding_idx >= 0 else None
    return rows_of(indices, weight, padding_idx=padding, scale_grad_by_freq=scale_grad_by_freq, sparse=sparse)


def embedding_renorm_(input: Tensor, indices: Tensor, max_norm: float, norm_type: float) -> Tensor:
    """Scale the rows of ``input`` that are named and have a larger norm down to ``max_norm``, in place."""
    limit_rows(input, indices, max_norm, norm_type)
    return input


def _named(reduction: int) -> str:
    if reduction not in range(len(REDUCTIONS)):
        raise RuntimeError(f"a reduction is 0 (none), 1 (mean) or 2 (sum), got {reduction}")
    return REDUCTIONS[reduction]


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    pos_weight: Tensor | None = None,
    reduction: int = 1,
) -> Tensor:
    """See `torchlite.nn.functional.binary_cross_entropy_with_logits`."""
    return binary_loss.binary_cross_entropy_with_logits(
        input, target, weight, reduction=_named(reduction), pos_weight=pos_weight
    )


def kl_div(input: Tensor, target: Tensor, reduction: int = 1, *, log_target: bool = False) -> Tensor:
    """See `torchlite.nn.functional.kl_div`."""
    return regression_loss.divergence(input, target, _named(reduction), log_target)


def poisson_nll_loss(input: Tensor, target: Tensor, log_input: bool, full: bool, eps: float, reduction: int) -> Tensor:
    """See `torchlite.nn.functional.poisson_nll_loss`."""
    return regression_loss.poisson_nll_loss(input, target, log_input, full, eps=eps, reduction=_named(reduction))


def hinge_embedding_loss(input: Tensor, target: Tensor, margin: float = 1.0, reduction: int = 1) -> Tensor:
    """See `torchlite.nn.functional.hinge_embedding_loss`."""
    return ranking_loss.hinge_embedding_loss(input, target, margin, reduction=_named(reduction))


def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 1
) -> Tensor:
    """See `torchlite.nn.functional.margin_ranking_loss`."""
    return ranking_loss.margin_ranking_loss(input1, input2, target, margin, reduction=_named(reduction))


def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 1
) -> Tensor:
    """See `torchlite.nn.functional.cosine_embedding_loss`."""
    return ranking_loss.cosine_embedding_loss(input1, input2, target, margin, reduction=_named(reduction))


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: int = 1,
) -> Tensor:
    """See `torchlite.nn.functional.triplet_margin_loss`."""
    return ranking_loss.triplet_margin_loss(
        anchor, positive, negative, margin, p, eps, swap, reduction=_named(reduction)
    )


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: int = 1,
    zero_infinity: bool = False,
) -> Tensor:
    """See `torchlite.nn.functional.ctc_loss`."""
    return sequence_loss.ctc_loss(
        log_probs, targets, input_lengths, target_lengths, blank, _named(reduction), zero_infinity
    )
