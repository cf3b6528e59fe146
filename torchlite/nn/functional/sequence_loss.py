"""The loss of label sequences whose place in time is not known."""

from __future__ import annotations

import math
from typing import Any

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.autocasting import autocasts
from torchlite.ir import FLOAT32_ON_CPU
from torchlite.nn.functional.reduction import check_reduction, reduced
from torchlite.ops.arithmetic import where
from torchlite.ops.creation import arange, as_tensor
from torchlite.ops.floating import logaddexp
from torchlite.ops.gathering import gather
from torchlite.ops.joining import cat, constant_pad, stack
from torchlite.ops.pointwise import exp

# Stands for ln 0: unlike -inf it can be subtracted from itself, and no sum of real log-probabilities comes near it.
_NEVER = -1e30


@autocasts(FLOAT32_ON_CPU)
def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """-ln Σ Πₜ p(πₜ) over all alignments π of a label sequence, with blanks and repetitions, to T steps (Graves et al.,
    2006). The mean is over the losses divided by the lengths of their targets.

    As in PyTorch the gradient is the one of log-probabilities that a log-softmax has made: it sums to 0 over the classes.

    Shape:
        - log_probs: (T, N, C) or (T, C)
        - targets: (N, S), (S,) without a batch, or all N targets in one vector
        - input_lengths, target_lengths: (N,) or (), tensors or tuples of integers; result: () or (N,)

    Args:
        log_probs, targets, input_lengths, target_lengths: as above.
        blank: the class of the blank.
        reduction: "mean", "sum" or "none".
        zero_infinity: 0 for targets that are too long to be aligned, and no gradient, instead of an infinite loss.

    Raises:
        RuntimeError: for lengths and targets that do not fit.
    """
    check_reduction(reduction)
    if not log_probs.is_floating_point():
        raise RuntimeError(f"ctc_loss: expected floating-point log_probs, got {log_probs.dtype}")
    if log_probs.ndim not in (2, 3):
        raise RuntimeError(f"ctc_loss: expected log_probs of shape (T, N, C) or (T, C), got {list(log_probs.shape)}")
    batched = log_probs.ndim == 3
    lp = log_probs if batched else log_probs.unsqueeze(1)
    steps, samples, classes = lp.shape
    if not 0 <= blank < classes:
        raise RuntimeError(f"blank must be in label range: got {blank} for {classes} classes")
    times = _lengths("input_lengths", input_lengths, samples, lp)
    sizes = _lengths("target_lengths", target_lengths, samples, lp)
    if int(times.max()) > steps:
        raise RuntimeError(f"Expected input_lengths to have value at most {steps}, but got value {int(times.max())}")
    labels = _by_sample(targets, sizes, batched)

    likelihood = _log_likelihood(lp, labels, times, sizes, blank)
    impossible = likelihood.detach() < _NEVER / 10
    loss = likelihood * where(impossible, 0.0 if zero_infinity else -math.inf, likelihood.new_full((), -1.0))
    if lp.requires_grad:
        loss = loss + _softmax_share(lp, times, impossible & zero_infinity)
    if reduction == "mean":
        return (loss / sizes.clamp(min=1).to(loss.dtype)).mean()
    loss = reduced(loss, reduction)
    return loss if batched or reduction == "sum" else loss.squeeze(0)


def _lengths(name: str, lengths: Any, samples: int, like: Tensor) -> Tensor:
    if isinstance(lengths, Tensor) and lengths._data.dtype.kind not in "iu":
        raise RuntimeError(f"{name} must be integral, got {lengths.dtype}")
    result = as_tensor(lengths, dtype=dtypes.int64, device=like.device).reshape(-1)
    if result.numel() != samples:
        raise RuntimeError(f"{name} must be of size batch_size {samples}, but got {result.numel()} lengths")
    if samples and int(result.min()) < 0:
        raise RuntimeError(f"Expected {name} to have value at least 0, but got value {int(result.min())}")
    return result


def _by_sample(targets: Tensor, sizes: Tensor, batched: bool) -> Tensor:
    """Labels (N, S) of all samples, with anything behind the last of each."""
    if targets._data.dtype.kind not in "iu":
        raise RuntimeError(f"ctc_loss: expected integer targets, got {targets.dtype}")
    longest = int(sizes.max()) if sizes.numel() else 0
    if targets.ndim == 2 or not batched:
        rows = targets if targets.ndim == 2 else targets.unsqueeze(0)
        if rows.shape[0] != sizes.numel() or rows.shape[1] < longest:
            raise RuntimeError(
                f"Expected targets of shape [{sizes.numel()}, at least {longest}] for the target lengths, but got "
                f"{list(targets.shape)}"
            )
        return rows[:, :longest].to(dtypes.int64)
    if targets.ndim != 1 or targets.numel() < int(sizes.sum()):
        raise RuntimeError(
            f"ctc_loss: targets of shape {list(targets.shape)} do not hold the {int(sizes.sum())} labels that the "
            "target lengths add up to"
        )
    starts = sizes.cumsum(0) - sizes
    place = starts.unsqueeze(1) + arange(longest, device=targets.device)
    inside = place < targets.numel()
    return where(inside, targets[where(inside, place, 0)], 0).to(dtypes.int64)


def _log_likelihood(lp: Tensor, labels: Tensor, times: Tensor, sizes: Tensor, blank: int) -> Tensor:
    """The logarithm of the summed probability of all alignments of each sample.

    The states of an alignment are the labels with a blank before, between and behind them. From one step to the next a
    state stays, goes on, or skips a blank between different labels.
    """
    samples, longest = labels.shape
    inside = arange(longest, device=labels.device) < sizes.unsqueeze(1)
    labels = where(inside, labels, blank)
    states = stack([labels.new_full(labels.shape, blank), labels], 2).reshape(samples, -1)
    states = constant_pad(states, [(0, 0), (0, 1)], blank)  # (N, 2S + 1)
    heard = gather(lp, 2, states.unsqueeze(0).expand(lp.shape[0], *states.shape))  # (T, N, 2S + 1)
    skips = constant_pad((states[:, 2:] != blank) & (states[:, 2:] != states[:, :-2]), [(0, 0), (2, 0)], 0)
    barrier = where(skips, lp.new_zeros(()), _NEVER)
    ends = sizes.unsqueeze(1) * 2
    of_sample = arange(states.shape[1], device=labels.device) <= ends

    start = where(arange(states.shape[1], device=labels.device) < 2, heard[0], _NEVER)
    forward = where(of_sample, start, _NEVER)
    ragged = int(times.min()) < lp.shape[0]
    for t in range(1, lp.shape[0]):
        before = constant_pad(forward, [(0, 0), (2, 0)], _NEVER)
        reached = logaddexp(logaddexp(forward, before[:, 1:-1]), before[:, :-2] + barrier) + heard[t]
        forward = where((times > t).unsqueeze(1), reached, forward) if ragged else reached
    last = gather(forward, 1, cat([ends, (ends - 1).clamp(min=0)], 1))
    # A target without labels has one last state, not two.
    second = where(sizes > 0, last[:, 1], _NEVER)
    total = logaddexp(last[:, 0], second)
    # Without any time to pass there is one alignment of nothing, and none of something.
    return where(times > 0, total, where(sizes > 0, lp.new_full((), _NEVER), 0.0))


def _softmax_share(lp: Tensor, times: Tensor, without: Tensor) -> Tensor:
    """Zeros whose gradient is exp(lp) in the time of each sample that is not ``without`` a loss."""
    in_time = arange(lp.shape[0], device=lp.device).unsqueeze(1) < times
    share = where((in_time & ~without).unsqueeze(2), exp(lp), 0.0).sum((0, 2))
    return share - share.detach()
