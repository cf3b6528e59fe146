"""Cross-entropy of logits with class indices as one operator, and its gradient as another."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import grad_mode
from torchlite.backends.native import accelerated
from torchlite.dispatch import apply
from torchlite.ir import Aval, Op, Sample, register
from torchlite.ops.arithmetic import where
from torchlite.ops.creation import arange
from torchlite.ops.softmax import softmax

_FLOAT32 = np.dtype(np.float32)


def _checked(xp: Any, x: Any, target: Any, ignore_index: int) -> Any:
    """Which rows count."""
    counted = target != ignore_index
    outside = counted & ((target < 0) | (target >= x.shape[1]))
    if xp is np and outside.any():
        raise IndexError(f"Target {target[outside][0]} is out of bounds: the logits have {x.shape[1]} classes")
    return counted


@accelerated("cross_entropy.cross_entropy", least=1, of=_FLOAT32)
@np.errstate(all="ignore")
def _run(xp: Any, x: Any, target: Any, *, ignore_index: int, reduction: str) -> tuple[Any, Any, Any]:
    counted = _checked(xp, x, target, ignore_index)
    peak = x.max(axis=1) if x.shape[1] else x.sum(axis=1)
    log_sum = xp.log(xp.exp(x - peak[:, None]).sum(axis=1))
    loss = xp.zeros(target.shape, x.dtype)
    chosen = target[counted]
    loss[counted] = log_sum[counted] - (x[counted, chosen] - peak[counted])
    count = xp.asarray(counted.sum(), x.dtype)
    if reduction != "none":
        loss = xp.asarray(loss.sum(), x.dtype)
    return (xp.asarray(loss / count) if reduction == "mean" else loss), peak + log_sum, count


@accelerated("cross_entropy.cross_entropy_grad", least=1)
@np.errstate(all="ignore")
def _run_grad(xp: Any, g: Any, x: Any, target: Any, lse: Any, count: Any, *, ignore_index: int, reduction: str) -> Any:
    counted = _checked(xp, x, target, ignore_index)
    share = g / count if reduction == "mean" else g
    share = xp.where(counted, share, x.dtype.type(0))
    out = xp.exp(x - lse[:, None])
    out[counted, target[counted]] -= 1
    out[~counted] = 0
    out *= share[:, None]
    return out


def _written_out(
    g: tuple[Tensor | None, ...], x: Tensor, target: Tensor, count: Tensor, ignore_index: int, reduction: str
) -> Tensor:
    """The cotangent of the logits, in tensor operators."""
    weights = softmax(x, 1)
    total = x.new_zeros(x.shape) if g[1] is None else weights * g[1].unsqueeze(1)
    if g[0] is None:
        return total
    share = g[0] / count if reduction == "mean" else g[0]
    share = where(target != ignore_index, share, 0.0).unsqueeze(1)
    chosen = (arange(x.shape[1], device=x.device) == target.unsqueeze(1)).to(x.dtype)
    return total + (weights - chosen) * share


def _vjp(
    g: tuple[Tensor | None, ...],
    out: tuple[Tensor, ...],
    x: Tensor,
    target: Tensor,
    ignore_index: int,
    reduction: str,
) -> tuple[Tensor | None, ...]:
    if grad_mode.enabled or g[0] is None or g[1] is not None:
        return _written_out(g, x, target, out[2], ignore_index, reduction), None
    params = {"ignore_index": ignore_index, "reduction": reduction}
    return apply(_grad, (g[0], x, target, *out[1:]), params), None


def _infer(x: Aval, target: Aval, *, ignore_index: int, reduction: str) -> tuple[Aval, Aval, Aval]:  # noqa: ARG001
    rows, one = Aval(target.shape, x.dtype, x.device), Aval((), x.dtype, x.device)
    return (rows if reduction == "none" else one), rows, one


def _samples(rng: np.random.Generator) -> list[Sample]:
    target = np.array([2, 0, -100, 3, 1])
    return [
        Sample((rng.normal(size=(5, 4)), target), {"ignore_index": -100, "reduction": reduction})
        for reduction in ("mean", "sum", "none")
    ]


def _grad_samples(rng: np.random.Generator) -> list[Sample]:
    return [
        Sample(
            (
                rng.normal(size=5 if s.params["reduction"] == "none" else ()),
                *s.arrays,
                rng.normal(size=5),
                np.array(4.0),
            ),
            s.params,
        )
        for s in _samples(rng)
    ]


_cross_entropy = register(
    Op(
        "cross_entropy",
        "contract",
        run=_run,
        infer=_infer,
        vjp=_vjp,
        samples=_samples,
        doc="ln Σⱼ exp(xⱼ) - x[t] for logits (N, C) and class indices (N,), 0 where t is ``ignore_index``; its mean over the "
        "others, its sum, or all; also ln Σⱼ exp(xⱼ) and how many count.",
    )
)
_grad = register(
    Op(
        "cross_entropy_grad",
        "contract",
        run=_run_grad,
        infer=lambda _g, x, *_rest, **_params: x,
        samples=_grad_samples,
        doc="The cotangent of the logits of `cross_entropy`, where it need not be differentiated again.",
    )
)


def takes(x: Tensor, target: Tensor) -> bool:
    """Whether `cross_entropy` computes these, which are known to fit each other."""
    return x.ndim == 2 and x.dtype in (dtypes.float32, dtypes.float64) and target.dtype is dtypes.int64


def cross_entropy(x: Tensor, target: Tensor, ignore_index: int, reduction: str) -> Tensor:
    """ln Σⱼ exp(xⱼ) - x[t], 0 where the class index t is ``ignore_index``, reduced to its mean over the others or its sum.

    Shape:
        - x: (N, C), target: (N,), integers; result: (), or (N,) for the reduction "none"

    Raises:
        IndexError: for a class index that is not one of the C.
    """
    loss, _, _ = apply(_cross_entropy, (x, target), {"ignore_index": ignore_index, "reduction": reduction})
    return loss
