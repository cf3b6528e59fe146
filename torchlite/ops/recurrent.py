"""Recurrent layers in one direction: a state that each step of a sequence changes.

Forward is a loop over time on arrays. Backward is written with tensor operators, so that it can be differentiated again:
all that does not depend on the gradient of the state is computed for all steps at once, and the loop does the rest.

Sequences are sorted by length, longest first; ``batch_sizes`` says how many of them each step still has. The state of a
sequence that has ended, or in reverse not begun, stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from torchlite._tensor import Tensor, wrap
from torchlite.autograd.grad_mode import grad_mode, no_grad
from torchlite.backends.native import accelerated
from torchlite.backends.nvidia import on_gpu
from torchlite.dispatch import apply
from torchlite.ir import Aval, Op, Sample, register
from torchlite.ops.arithmetic import where
from torchlite.ops.contraction import product
from torchlite.ops.conversion import to
from torchlite.ops.half_precision import widened
from torchlite.ops.indexing import index_op
from torchlite.ops.joining import cat, stack
from torchlite.ops.pointwise import sigmoid, tanh

BatchSizes = tuple[int, ...] | None


def _order(steps: int, reverse: bool) -> range:
    return range(steps - 1, -1, -1) if reverse else range(steps)


def _through_time(
    xp: Any,
    gates: Any,
    states: tuple[Any, ...],
    batch_sizes: BatchSizes,
    reverse: bool,
    step: Callable[..., tuple[Any, ...]],
    kept: Any = None,
) -> tuple[Any, ...]:
    """The states after each step; ``step(gates of one step, *states)`` gives the new ones, and what is ``kept`` of it."""
    results = tuple(xp.empty((gates.shape[0], *state.shape), state.dtype) for state in states)
    samples = gates.shape[1]
    for t in _order(gates.shape[0], reverse):
        n = samples if batch_sizes is None else batch_sizes[t]
        new = step(gates[t, :n], *(state[:n] for state in states))
        if kept is not None:
            kept[t, :n] = new[-1]
        for result, state, changed in zip(results, states, new, strict=False):
            result[t, :n] = changed
            if n < samples:
                result[t, n:] = state[n:]
        states = tuple(result[t] for result in results)
    return results


def _before(states: Tensor, first: Tensor, reverse: bool) -> Tensor:
    """The state before each step, from the states after each."""
    first = first.unsqueeze(0)
    return cat([states[1:], first]) if reverse else cat([first, states[:-1]])


def _running(batch_sizes: BatchSizes, like: Tensor) -> Tensor | None:
    """(T, N, 1): which sequences each step has; None where all have all."""
    if batch_sizes is None:
        return None
    mask = np.arange(like.shape[1])[:, None] < np.asarray(batch_sizes)[:, None, None]
    return to(wrap(mask), like.device)


def _weight_gradient(g: Tensor, x: Tensor) -> Tensor:
    """Σ gᵀ x over time and samples."""
    return g.reshape(-1, g.shape[-1]).t() @ x.reshape(-1, x.shape[-1])


def _plus(x: Tensor | None, y: Tensor) -> Tensor:
    return y if x is None else x + y


def _batch_samples(rng: np.random.Generator, width: int, *more: tuple[int, ...]) -> list[Sample]:
    def arrays() -> tuple[Any, ...]:
        return (rng.normal(size=(3, 2, width)), *(rng.normal(size=shape) * 0.7 for shape in more))

    return [
        Sample(arrays(), {"batch_sizes": None, "reverse": False}),
        Sample(arrays(), {"batch_sizes": (2, 2, 1), "reverse": False}),
        Sample(arrays(), {"batch_sizes": (2, 1, 1), "reverse": True}),
    ]


@on_gpu("recurrent.rnn")
@np.errstate(all="ignore")
def _run_rnn(
    xp: Any, gates: Any, h0: Any, w_hh: Any, *, nonlinearity: str, batch_sizes: BatchSizes, reverse: bool
) -> Any:
    weight, zero = w_hh.T, gates.dtype.type(0)

    def step(a: Any, h: Any) -> tuple[Any]:
        a = a + product(xp, h, weight)
        return (xp.tanh(a) if nonlinearity == "tanh" else xp.maximum(a, zero),)

    return _through_time(xp, gates, (h0,), batch_sizes, reverse, step)[0]


def _rnn_vjp(
    g: Tensor,
    out: Tensor,
    _gates: Any,
    h0: Tensor,
    w_hh: Tensor,
    nonlinearity: str,
    batch_sizes: BatchSizes,
    reverse: bool,
) -> tuple[Tensor, ...]:
    slopes = 1 - out * out if nonlinearity == "tanh" else where(out > 0, out.new_ones(()), 0.0)
    running = _running(batch_sizes, out)
    steps = len(out)
    d_gates: list[Any] = [None] * steps
    dh: Tensor | None = None
    for t in reversed(_order(steps, reverse)):
        dh = _plus(dh, g[t])
        d = dh * slopes[t]
        if running is None:
            d_gates[t], dh = d, d @ w_hh
        else:
            d_gates[t] = where(running[t], d, 0.0)
            dh = where(running[t], d @ w_hh, dh)
    every = stack(d_gates)
    return every, dh, _weight_gradient(every, _before(out, h0, reverse))  # type: ignore[return-value]


def _infer_rnn(gates: Aval, h0: Aval, *_rest: Aval, **_params: Any) -> Aval:
    return Aval((gates.shape[0], *h0.shape), gates.dtype, gates.device)


_rnn = register(
    Op(
        "rnn",
        "contract",
        run=_run_rnn,
        infer=_infer_rnn,
        vjp=_rnn_vjp,
        samples=lambda rng: [
            sample._replace(params={**sample.params, "nonlinearity": "tanh"})
            for sample in _batch_samples(rng, 4, (2, 4), (4, 4))
        ],
        doc="hₜ = tanh(gatesₜ + W hₜ₋₁), or max(·, 0), of gates (T, N, H): the states after each step.",
    )
)


def _sigmoid_(xp: Any, x: Any) -> Any:
    """The logistic function, in place."""
    xp.negative(x, out=x)
    xp.exp(x, out=x)
    x += x.dtype.type(1)
    return xp.reciprocal(x, out=x)


@on_gpu("recurrent.lstm")
@accelerated("recurrent.lstm")
@widened
@accelerated("recurrent.lstm")
@np.errstate(all="ignore")
def _run_lstm(
    xp: Any, gates: Any, h0: Any, c0: Any, w_hh: Any, *w_hr: Any, batch_sizes: BatchSizes, reverse: bool
) -> tuple[Any, ...]:
    weight, width = w_hh.T, c0.shape[1]
    kept = xp.zeros_like(gates)

    def step(a: Any, h: Any, c: Any) -> tuple[Any, Any, Any]:
        a = a + product(xp, h, weight)
        candidate = xp.tanh(a[:, 2 * width : 3 * width])
        _sigmoid_(xp, a)
        a[:, 2 * width : 3 * width] = candidate
        c = a[:, width : 2 * width] * c + a[:, :width] * candidate
        h = a[:, 3 * width :] * xp.tanh(c)
        return (product(xp, h, w_hr[0].T) if w_hr else h), c, a

    return *_through_time(xp, gates, (h0, c0), batch_sizes, reverse, step, kept), kept


def _lstm_vjp(
    g: tuple[Tensor | None, ...],
    out: tuple[Tensor, ...],
    gates: Tensor,
    h0: Tensor,
    c0: Tensor,
    w_hh: Tensor,
    *w_hr: Tensor,
    batch_sizes: BatchSizes,
    reverse: bool,
) -> tuple[Tensor, ...]:
    hs, cs, kept = out
    h_before = _before(hs, h0, reverse)
    if w_hr or grad_mode.enabled or g[2] is not None:
        i, f, candidate, o = (gates + h_before @ w_hh.t()).chunk(4, 2)
        kept = cat([sigmoid(i), sigmoid(f), tanh(candidate), sigmoid(o)], 2)
        *gradients, d_out = _lstm_gradients(g, kept, c0, w_hh, cs, *w_hr, batch_sizes=batch_sizes, reverse=reverse)
        by_w_hr = [_weight_gradient(d_out, kept.chunk(4, 2)[3] * tanh(cs))] if w_hr else []
    else:
        inputs = (kept, c0, w_hh, cs, *(x for x in g[:2] if x is not None))
        given = (g[0] is not None, g[1] is not None)
        gradients = list(apply(_lstm_grad, inputs, {"given": given, "batch_sizes": batch_sizes, "reverse": reverse}))
        by_w_hr = []
    return (*gradients, _weight_gradient(gradients[0], h_before), *by_w_hr)


def _lstm_gradients(
    g: tuple[Tensor | None, ...],
    kept: Tensor,
    c0: Tensor,
    w_hh: Tensor,
    cs: Tensor,
    *w_hr: Tensor,
    batch_sizes: BatchSizes,
    reverse: bool,
) -> tuple[Tensor, ...]:
    """The cotangents of the gates and of both first states, and with ``w_hr`` of the results, in tensor operators."""
    c_before = _before(cs, c0, reverse)
    i, f, candidate, o = kept.chunk(4, 2)
    tanh_c = tanh(cs)
    slope = o * (1 - tanh_c * tanh_c)  # of h by c
    by_c = stack(
        [candidate * i * (1 - i), c_before * f * (1 - f), i * (1 - candidate * candidate)], 2
    )  # of c by i, f, g
    by_h = tanh_c * o * (1 - o)  # of h by o
    by_kept = None
    if len(g) > 2 and g[2] is not None:  # something depends on the gates themselves
        by_kept = g[2] * cat([i * (1 - i), f * (1 - f), 1 - candidate * candidate, o * (1 - o)], 2)
    running = _running(batch_sizes, cs)
    steps, samples, width = cs.shape
    d_gates: list[Any] = [None] * steps
    d_out: list[Any] = [None] * steps
    dh, dc = w_hh.new_zeros((samples, w_hh.shape[1])), cs.new_zeros(c0.shape)
    for t in reversed(_order(steps, reverse)):
        dh = dh if g[0] is None else dh + g[0][t]
        dc = dc if g[1] is None else dc + g[1][t]
        unprojected = dh @ w_hr[0] if w_hr else dh
        through = dc + unprojected * slope[t]
        d = cat([(by_c[t] * through.unsqueeze(1)).reshape(samples, 3 * width), unprojected * by_h[t]], 1)
        d = d if by_kept is None else d + by_kept[t]
        d_gates[t], d_out[t] = d, dh
        dh_before, dc_before = d @ w_hh, through * f[t]
        if running is None:
            dh, dc = dh_before, dc_before
        else:
            d_gates[t], d_out[t] = where(running[t], d, 0.0), where(running[t], dh, 0.0)
            dh, dc = where(running[t], dh_before, dh), where(running[t], dc_before, dc)
    return stack(d_gates), dh, dc, stack(d_out)


@on_gpu("recurrent.lstm_grad")
@accelerated("recurrent.lstm_grad")
@widened
@accelerated("recurrent.lstm_grad")
def _run_lstm_grad(
    _xp: Any, *arrays: Any, given: tuple[bool, bool], batch_sizes: BatchSizes, reverse: bool
) -> tuple[Any, ...]:
    kept, c0, w_hh, cs, *cotangents = (wrap(array) for array in arrays)
    rest = iter(cotangents)
    g = tuple(next(rest) if there else None for there in given)
    with no_grad():
        gradients = _lstm_gradients(g, kept, c0, w_hh, cs, batch_sizes=batch_sizes, reverse=reverse)
    return tuple(x._data for x in gradients[:3])


def _lstm_grad_samples(rng: np.random.Generator) -> list[Sample]:
    arrays = [
        rng.uniform(0.1, 0.9, (3, 2, 12)),
        *(rng.normal(size=shape) for shape in ((2, 3), (12, 3), *[(3, 2, 3)] * 3)),
    ]
    return [
        Sample(tuple(arrays), {"given": (True, True), "batch_sizes": None, "reverse": True}),
        Sample(tuple(arrays[:5]), {"given": (True, False), "batch_sizes": (2, 2, 1), "reverse": False}),
        Sample(tuple(arrays[:5]), {"given": (False, True), "batch_sizes": None, "reverse": False}),
    ]


_lstm_grad = register(
    Op(
        "lstm_grad",
        "contract",
        run=_run_lstm_grad,
        infer=lambda kept, c0, w_hh, *_rest, **_params: (
            kept,
            Aval((c0.shape[0], w_hh.shape[1]), c0.dtype, c0.device),
            c0,
        ),
        samples=_lstm_grad_samples,
        doc="The cotangents of gates and first states of `lstm` from those of the states that are ``given``, where they "
        "need not be differentiated again; from the values of the gates that `lstm` keeps.",
    )
)


def _run_lstm_grad_sums(
    xp: Any, *arrays: Any, given: tuple[bool, bool], batch_sizes: BatchSizes, reverse: bool
) -> tuple[Any, ...]:
    count = 4 + sum(given)
    gradients = _lstm_grad.run(xp, *arrays[:count], given=given, batch_sizes=batch_sizes, reverse=reverse)
    d = gradients[0].reshape(-1, gradients[0].shape[-1]).T
    return (*gradients, *(product(xp, d, x.reshape(-1, x.shape[-1])) for x in arrays[count:]))


def _infer_lstm_grad_sums(*avals: Aval, given: tuple[bool, bool], **params: Any) -> tuple[Aval, ...]:
    count, kept = 4 + sum(given), avals[0]
    sums = (Aval((kept.shape[2], x.shape[2]), kept.dtype, kept.device) for x in avals[count:])
    return (*_lstm_grad.infer(*avals[:count], given=given, **params), *sums)


register(
    Op(
        "lstm_grad_sums",
        "contract",
        run=_run_lstm_grad_sums,
        infer=_infer_lstm_grad_sums,
        samples=lambda rng: [
            sample._replace(arrays=(*sample.arrays, rng.normal(size=(3, 2, 3)), rng.normal(size=(3, 2, 5))))
            for sample in _lstm_grad_samples(rng)
        ],
        doc="`lstm_grad`, and for each further input (T, N, K) the sum over time and samples of the cotangents of gates times "
        "it, (4H, K): the gradient of a weight that has multiplied it.",
    )
)


def _run_lstm_grad_inputs(xp: Any, *arrays: Any, **params: Any) -> tuple[Any, ...]:
    gradients = _lstm_grad.run(xp, *arrays[:-1], **params)
    return (*gradients, product(xp, gradients[0], arrays[-1]), gradients[0].sum((0, 1)))


def _infer_lstm_grad_inputs(*avals: Aval, **params: Any) -> tuple[Aval, ...]:
    kept, w_ih = avals[0], avals[-1]
    d_inputs = Aval((*kept.shape[:2], w_ih.shape[1]), kept.dtype, kept.device)
    return (*_lstm_grad.infer(*avals[:-1], **params), d_inputs, Aval(kept.shape[2:], kept.dtype, kept.device))


register(
    Op(
        "lstm_grad_inputs",
        "contract",
        run=_run_lstm_grad_inputs,
        infer=_infer_lstm_grad_inputs,
        samples=lambda rng: [
            sample._replace(arrays=(*sample.arrays, rng.normal(size=(12, 5)))) for sample in _lstm_grad_samples(rng)
        ],
        doc="`lstm_grad`, and the cotangents of gates times a weight W (4H, K): those of the inputs (T, N, K) that it has "
        "multiplied; and their sums over time and samples (4H,), which are those of biases.",
    )
)


def _infer_lstm(gates: Aval, h0: Aval, c0: Aval, *_rest: Aval, **_params: Any) -> tuple[Aval, ...]:
    return *(Aval((gates.shape[0], *state.shape), gates.dtype, gates.device) for state in (h0, c0)), gates


_lstm = register(
    Op(
        "lstm",
        "contract",
        run=_run_lstm,
        infer=_infer_lstm,
        vjp=_lstm_vjp,
        samples=lambda rng: [
            *_batch_samples(rng, 12, (2, 3), (2, 3), (12, 3)),
            *_batch_samples(rng, 12, (2, 2), (2, 3), (12, 2), (2, 3))[1:],
        ],
        doc="Long short-term memory (Hochreiter & Schmidhuber, 1997) of gates (T, N, 4H): hidden and cell states, and what "
        "the gates were, for the gradient.",
    )
)


@on_gpu("recurrent.gru")
@accelerated("recurrent.gru")
@np.errstate(all="ignore")
def _run_gru(
    xp: Any, gates: Any, h0: Any, w_hh: Any, *b_hh: Any, batch_sizes: BatchSizes, reverse: bool
) -> tuple[Any, Any]:
    weight, width = w_hh.T, h0.shape[1]
    kept = xp.zeros((*gates.shape[:2], 4 * width), gates.dtype)

    def step(a: Any, h: Any) -> tuple[Any, Any]:
        own = product(xp, h, weight)
        for bias in b_hh:
            own += bias
        r_z = _sigmoid_(xp, a[:, : 2 * width] + own[:, : 2 * width])
        new = xp.tanh(a[:, 2 * width :] + r_z[:, :width] * own[:, 2 * width :])
        return new + r_z[:, width:] * (h - new), xp.concatenate([r_z, new, own[:, 2 * width :]], axis=1)

    return _through_time(xp, gates, (h0,), batch_sizes, reverse, step, kept)[0], kept


def _gru_vjp(
    g: tuple[Tensor | None, ...],
    out: tuple[Tensor, Tensor],
    gates: Tensor,
    h0: Tensor,
    w_hh: Tensor,
    *b_hh: Tensor,
    batch_sizes: BatchSizes,
    reverse: bool,
) -> tuple[Tensor, ...]:
    hs, kept = out
    g_h = hs.new_zeros(hs.shape) if g[0] is None else g[0]
    h_before = _before(hs, h0, reverse)
    if grad_mode.enabled or g[1] is not None:
        own = h_before @ w_hh.t()
        for bias in b_hh:
            own = own + bias
        (own_r, own_z, own_n), (r, z, n) = own.chunk(3, 2), gates.chunk(3, 2)
        r, z = sigmoid(r + own_r), sigmoid(z + own_z)
        kept = cat([r, z, tanh(n + r * own_n), own_n], 2)
        d_gates, d_own, dh = _gru_gradients(g_h, kept, h0, w_hh, hs, batch_sizes, reverse, g[1])
    else:
        params = {"batch_sizes": batch_sizes, "reverse": reverse}
        d_gates, d_own, dh = apply(_gru_grad, (g_h, kept, h0, w_hh, hs), params)
    gradients = (d_gates, dh, _weight_gradient(d_own, h_before))
    return (*gradients, d_own.sum((0, 1))) if b_hh else gradients


def _gru_gradients(
    g: Tensor,
    kept: Tensor,
    h0: Tensor,
    w_hh: Tensor,
    hs: Tensor,
    batch_sizes: BatchSizes,
    reverse: bool,
    g_kept: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """The cotangents of the gates, of what the state adds to them and of the first state, in tensor operators."""
    r, z, n, own_n = kept.chunk(4, 2)
    by_n = (1 - z) * (1 - n * n)
    by_r, by_z = by_n * own_n * r * (1 - r), (_before(hs, h0, reverse) - n) * z * (1 - z)
    by_gates, by_own = cat([by_r, by_z, by_n], 2), cat([by_r, by_z, by_n * r], 2)
    more_gates, more_own = _by_kept_gru(g_kept, r, z, n, own_n)
    running = _running(batch_sizes, hs)
    steps = len(hs)
    d_gates: list[Any] = [None] * steps
    d_own: list[Any] = [None] * steps
    dh: Tensor | None = None
    for t in reversed(_order(steps, reverse)):
        dh = _plus(dh, g[t])
        every = cat([dh, dh, dh], 1)
        d_gates[t], d_own[t] = by_gates[t] * every, by_own[t] * every
        if more_gates is not None and more_own is not None:
            d_gates[t], d_own[t] = d_gates[t] + more_gates[t], d_own[t] + more_own[t]
        before = d_own[t] @ w_hh + dh * z[t]
        if running is not None:
            d_gates[t], d_own[t] = where(running[t], d_gates[t], 0.0), where(running[t], d_own[t], 0.0)
            before = where(running[t], before, dh)
        dh = before
    return stack(d_gates), stack(d_own), dh  # type: ignore[return-value]


def _by_kept_gru(
    g: Tensor | None, r: Tensor, z: Tensor, n: Tensor, own_n: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """What the cotangent of the kept gates adds to those of the gates and of what the state adds to them."""
    if g is None:
        return None, None
    g_r, g_z, g_n, g_own = g.chunk(4, 2)
    by_n = g_n * (1 - n * n)
    by_r, by_z = (g_r + by_n * own_n) * r * (1 - r), g_z * z * (1 - z)
    return cat([by_r, by_z, by_n], 2), cat([by_r, by_z, by_n * r + g_own], 2)


@on_gpu("recurrent.gru_grad")
@accelerated("recurrent.gru_grad")
def _run_gru_grad(_xp: Any, *arrays: Any, batch_sizes: BatchSizes, reverse: bool) -> tuple[Any, ...]:
    with no_grad():
        g, kept, h0, w_hh, hs = map(wrap, arrays)
        gradients = _gru_gradients(g, kept, h0, w_hh, hs, batch_sizes, reverse)
    return tuple(x._data for x in gradients)


def _infer_gru_grad(_g: Aval, kept: Aval, h0: Aval, *_rest: Aval, **_params: Any) -> tuple[Aval, ...]:
    gates = Aval((*kept.shape[:2], 3 * h0.shape[1]), kept.dtype, kept.device)
    return gates, gates, h0


def _gru_grad_samples(rng: np.random.Generator) -> list[Sample]:
    shapes = ((3, 2, 3), (3, 2, 12), (2, 3), (9, 3), (3, 2, 3))
    arrays = tuple(rng.uniform(0.1, 0.9, shape) for shape in shapes)
    return [
        Sample(arrays, {"batch_sizes": None, "reverse": False}),
        Sample(arrays, {"batch_sizes": (2, 1, 1), "reverse": True}),
    ]


_gru_grad = register(
    Op(
        "gru_grad",
        "contract",
        run=_run_gru_grad,
        infer=_infer_gru_grad,
        samples=_gru_grad_samples,
        doc="The cotangents of the gates of `gru`, of what the state adds to them and of the first state, where they need not "
        "be differentiated again; from the values of the gates that `gru` keeps.",
    )
)


def _infer_gru(gates: Aval, h0: Aval, *_rest: Aval, **_params: Any) -> tuple[Aval, Aval]:
    shapes = (*gates.shape[:2], h0.shape[1]), (*gates.shape[:2], 4 * h0.shape[1])
    return Aval(shapes[0], gates.dtype, gates.device), Aval(shapes[1], gates.dtype, gates.device)


_gru = register(
    Op(
        "gru",
        "contract",
        run=_run_gru,
        infer=_infer_gru,
        vjp=_gru_vjp,
        samples=lambda rng: [
            *_batch_samples(rng, 9, (2, 3), (9, 3), (9,)),
            *_batch_samples(rng, 9, (2, 3), (9, 3))[1:],
        ],
        doc="Gated recurrent unit (Cho et al., 2014) of gates (T, N, 3H): the states after each step, and what the gates "
        "and the state's share of n were, for the gradient.",
    )
)


def rnn(
    gates: Tensor, h0: Tensor, w_hh: Tensor, nonlinearity: str, batch_sizes: BatchSizes = None, reverse: bool = False
) -> Tensor:
    """hₜ = tanh(gatesₜ + W hₜ₋₁) or, with nonlinearity "relu", max(·, 0).

    Shape:
        - gates: (T, N, H), h0: (N, H), w_hh: (H, H); result: (T, N, H)
    """
    params = {"nonlinearity": nonlinearity, "batch_sizes": batch_sizes, "reverse": reverse}
    return apply(_rnn, (gates, h0, w_hh), params)


def lstm(
    gates: Tensor,
    h0: Tensor,
    c0: Tensor,
    w_hh: Tensor,
    w_hr: Tensor | None = None,
    batch_sizes: BatchSizes = None,
    reverse: bool = False,
) -> tuple[Tensor, Tensor]:
    """cₜ = σ(f) cₜ₋₁ + σ(i) tanh(g) and hₜ = σ(o) tanh(cₜ), projected by ``w_hr`` where given; i, f, g, o are the parts
    of gatesₜ + W hₜ₋₁.

    Shape:
        - gates: (T, N, 4H), h0: (N, P), c0: (N, H), w_hh: (4H, P), w_hr: (P, H); results: (T, N, P) and (T, N, H)
    """
    inputs = (gates, h0, c0, w_hh) if w_hr is None else (gates, h0, c0, w_hh, w_hr)
    hs, cs, _ = apply(_lstm, inputs, {"batch_sizes": batch_sizes, "reverse": reverse})
    return hs, cs


def gru(
    gates: Tensor,
    h0: Tensor,
    w_hh: Tensor,
    b_hh: Tensor | None = None,
    batch_sizes: BatchSizes = None,
    reverse: bool = False,
) -> Tensor:
    """hₜ = (1 - z) n + z hₜ₋₁ with r, z = σ(gatesₜ + W hₜ₋₁ + b) and n = tanh(gatesₜ + r (W hₜ₋₁ + b)), by parts.

    Shape:
        - gates: (T, N, 3H), h0: (N, H), w_hh: (3H, H), b_hh: (3H,); result: (T, N, H)
    """
    inputs = (gates, h0, w_hh) if b_hh is None else (gates, h0, w_hh, b_hh)
    hs, _ = apply(_gru, inputs, {"batch_sizes": batch_sizes, "reverse": reverse})
    return hs


def _run_lstm_of_rows(xp: Any, table: Any, numbers: Any, *arrays: Any, **params: Any) -> tuple[Any, ...]:
    return tuple(_lstm.run(xp, index_op.run(xp, table, numbers, spec=("tensor",)), *arrays, **params))


def _infer_lstm_of_rows(table: Aval, numbers: Aval, *states: Aval, **params: Any) -> tuple[Aval, ...]:
    gates = Aval((*numbers.shape, table.shape[1]), table.dtype, table.device)
    return tuple(_lstm.infer(gates, *states, **params))


register(
    Op(
        "lstm_of_rows",
        "contract",
        run=_run_lstm_of_rows,
        infer=_infer_lstm_of_rows,
        samples=lambda rng: [
            sample._replace(arrays=(rng.normal(size=(5, 12)), np.array([[0, 4], [1, -1], [4, 2]]), *sample.arrays[1:]))
            for sample in _batch_samples(rng, 12, (2, 3), (2, 3), (12, 3))
        ],
        doc="`lstm` whose gates are rows of a table (R, 4H), by their numbers (T, N).",
    )
)


def _run_lstm_of_inputs(xp: Any, x: Any, w_ih: Any, bias: Any, *arrays: Any, **params: Any) -> tuple[Any, ...]:
    return tuple(_lstm.run(xp, product(xp, x, w_ih.T) + bias, *arrays, **params))


def _infer_lstm_of_inputs(x: Aval, w_ih: Aval, _bias: Aval, *states: Aval, **params: Any) -> tuple[Aval, ...]:
    gates = Aval((*x.shape[:2], w_ih.shape[0]), x.dtype, x.device)
    return tuple(_lstm.infer(gates, *states, **params))


register(
    Op(
        "lstm_of_inputs",
        "contract",
        run=_run_lstm_of_inputs,
        infer=_infer_lstm_of_inputs,
        samples=lambda rng: [
            sample._replace(
                arrays=(*(rng.normal(size=shape) for shape in ((3, 2, 5), (12, 5), (12,))), *sample.arrays[1:])
            )
            for sample in _batch_samples(rng, 12, (2, 3), (2, 3), (12, 3))
        ],
        doc="`lstm` whose gates are x Wᵀ + b, of inputs x (T, N, K), a weight W (4H, K) and b (4H,).",
    )
)
