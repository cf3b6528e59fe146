"""Attention as one operator, which need not keep the scores of all queries and keys."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from torchlite import dtypes
from torchlite._tensor import Tensor, wrap
from torchlite.autograd.grad_mode import grad_mode, no_grad
from torchlite.backends.native import accelerated
from torchlite.backends.nvidia import on_gpu
from torchlite.dispatch import apply
from torchlite.ir import Aval, Op, Sample, register
from torchlite.ops.arithmetic import where
from torchlite.ops.creation import ones
from torchlite.ops.half_precision import widened
from torchlite.ops.softmax import softmax
from torchlite.ops.triangles import tril


def _weights(q: Tensor, k: Tensor, mask: tuple[Tensor, ...], causal: bool, scale: float) -> Tensor:
    scores = (q * scale) @ k.mT
    if causal:
        seen = tril(ones(*scores.shape[-2:], dtype=dtypes.bool_, device=q.device))
        scores = where(seen, scores, -math.inf)
    if not mask:
        return softmax(scores, -1)
    scores = scores + mask[0]
    nothing = (scores == -math.inf).all(-1, keepdim=True)
    return where(nothing, 0.0, softmax(where(nothing, 0.0, scores), -1))


@on_gpu("attention.attention")
@widened
@accelerated("attention.attention", least=1 << 12)
def _run(_xp: Any, q: Any, k: Any, v: Any, *mask: Any, causal: bool, scale: float) -> Any:
    with no_grad():
        return (_weights(wrap(q), wrap(k), tuple(map(wrap, mask)), causal, scale) @ wrap(v))._data


def _gradients(
    g: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: tuple[Tensor, ...], causal: bool, scale: float
) -> tuple[Tensor, ...]:
    """The cotangents of q, k and v, in tensor operators."""
    weights = _weights(q, k, mask, causal, scale)
    slopes = g @ v.mT
    slopes = weights * (slopes - (weights * slopes).sum(-1, keepdim=True)) * scale
    return slopes @ k, slopes.mT @ q, weights.mT @ g


def _vjp(
    g: Tensor, _out: Any, q: Tensor, k: Tensor, v: Tensor, *mask: Tensor, causal: bool, scale: float
) -> tuple[Tensor | None, ...]:
    without = (None,) * len(mask)
    if grad_mode.enabled:  # backward is itself recorded
        return *_gradients(g, q, k, v, mask, causal, scale), *without
    return *apply(_attention_grad, (g, q, k, v, *mask), {"causal": causal, "scale": scale}), *without


@on_gpu("attention.attention_grad")
@widened
@accelerated("attention.attention_grad", least=1 << 12)
def _run_grad(_xp: Any, g: Any, q: Any, k: Any, v: Any, *mask: Any, causal: bool, scale: float) -> tuple[Any, ...]:
    with no_grad():
        gradients = _gradients(wrap(g), wrap(q), wrap(k), wrap(v), tuple(map(wrap, mask)), causal, scale)
        return tuple(x._data for x in gradients)


def _infer(q: Aval, k: Aval, v: Aval, *_mask: Aval, causal: bool, scale: float) -> Aval:  # noqa: ARG001
    if q.shape[:-2] != k.shape[:-2] or k.shape[:-1] != v.shape[:-1] or q.shape[-1] != k.shape[-1]:
        shapes = ", ".join(f"{name} {list(x.shape)}" for name, x in {"query": q, "key": k, "value": v}.items())
        raise RuntimeError(f"attention: {shapes} do not fit each other")
    return Aval((*q.shape[:-1], v.shape[-1]), q.dtype, q.device)


def _samples(rng: np.random.Generator) -> list[Sample]:
    shapes = ((2, 2, 3, 4), (2, 2, 5, 4), (2, 2, 5, 3))
    arrays = tuple(rng.normal(size=shape) for shape in shapes)
    mask = np.where(rng.random((2, 2, 3, 5)) < 0.3, -np.inf, rng.normal(size=(2, 2, 3, 5)))
    masked = Sample((*arrays, mask), {"causal": False, "scale": 0.4})
    return [*(Sample(arrays, {"causal": causal, "scale": 0.4}) for causal in (False, True)), masked]


def _grad_samples(rng: np.random.Generator) -> list[Sample]:
    return [Sample((rng.normal(size=(2, 2, 3, 3)), *s.arrays), s.params) for s in _samples(rng)]


_attention = register(
    Op(
        "attention",
        "contract",
        run=_run,
        infer=_infer,
        vjp=_vjp,
        samples=_samples,
        doc="softmax(q kᵀ · scale + mask) v of (*, L, E), (*, S, E), (*, S, V) and, if there is one, a mask (*, L, S), which "
        "is not differentiated; where causal, of keys up to the query's position.",
    )
)
_attention_grad = register(
    Op(
        "attention_grad",
        "contract",
        run=_run_grad,
        infer=lambda _g, q, k, v, *_mask, **_params: (q, k, v),
        samples=_grad_samples,
        doc="The cotangents of q, k and v of `attention`, where they need not be differentiated again.",
    )
)


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, scale: float) -> Tensor:
    """softmax(q kᵀ · scale + mask) v, and 0 for queries to which the mask leaves no key.

    Shape:
        - q: (*, L, E), k: (*, S, E), v: (*, S, V), mask: (*, L, S) with equal leading dimensions; result: (*, L, V)
    """
    return apply(_attention, (q, k, v) if mask is None else (q, k, v, mask), {"causal": causal, "scale": scale})
