"""Pooling over any number of dimensions: the largest element of every window, and sums of windows.

The maximum also says at which place of its window it was found; picking the elements at given places and spreading
values to them are each other's gradient. So are summing windows and giving every element of a window the same value.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from torchlite import backends
from torchlite._tensor import Tensor
from torchlite.backends.native import accelerated
from torchlite.backends.nvidia import on_gpu
from torchlite.dispatch import apply
from torchlite.ir import Aval, Op, Sample, register
from torchlite.ops.creation import arange
from torchlite.ops.half_precision import widened
from torchlite.ops.windows import Lengths, Window, inside, lead_of, padded, size_of


@on_gpu("pooling.max_pool")
@widened
@accelerated("pooling.max_pool")
def _run_max_pool(xp: Any, x: Any, *, window: Window) -> tuple[Any, Any]:
    out = window.out_size("max_pool", size_of(x, window))
    low = np.iinfo(x.dtype).min if x.dtype.kind in "iu" else -np.inf
    full = padded(xp, x, window, out, low)
    offsets = window.offsets()
    best = full[window.slices(offsets[0], out)].copy()
    places = xp.zeros(best.shape, _places_dtype(window))
    for k, offset in enumerate(offsets[1:], 1):
        candidate = full[window.slices(offset, out)]
        better = candidate > best  # so the first of equals stays
        better |= candidate != candidate  # and NaN wins
        # Places only grow, so the larger one is the later one: a maximum is far cheaper than a masked copy.
        xp.maximum(places, better * places.dtype.type(k), out=places)
        xp.maximum(best, candidate, out=best)
    if any(window.padding):
        lowest = best == low
        if lowest.any():  # nothing beats the padding then, but it is no place to point at
            xp.maximum(places, lowest * xp.asarray(_first_inside(window, out), places.dtype), out=places)
    return best, places


def _places_dtype(window: Window) -> Any:
    return np.dtype(np.uint8 if math.prod(window.kernel) <= 256 else np.int32)


def _first_inside(window: Window, out: Lengths) -> Any:
    """For every window the place of its first element that is not padding."""
    firsts = [
        np.maximum(0, -(-(p - np.arange(n) * s) // d))
        for n, s, p, d in zip(out, window.stride, window.padding, window.dilation, strict=True)
    ]
    return np.ravel_multi_index(np.ix_(*firsts), window.kernel)


def _infer_max_pool(x: Aval, *, window: Window) -> tuple[Aval, Aval]:
    shape = (*lead_of(x, window), *window.out_size("max_pool", size_of(x, window)))
    return Aval(shape, x.dtype, x.device), Aval(shape, _places_dtype(window), x.device)


def _run_pick(xp: Any, x: Any, places: Any, *, window: Window) -> Any:
    out = size_of(places, window)
    full = padded(xp, x, window, out)
    picked = xp.zeros(places.shape, x.dtype)
    for k, offset in enumerate(window.offsets()):
        xp.copyto(picked, full[window.slices(offset, out)], where=places == k)
    return picked


@on_gpu("pooling.spread")
@widened
@accelerated("pooling.spread")
def _run_spread(xp: Any, g: Any, places: Any, *, window: Window, size: Lengths) -> Any:
    out = size_of(g, window)
    full = xp.zeros((*lead_of(g, window), *window.padded_size(size, out)), g.dtype)
    for k, offset in enumerate(window.offsets()):
        part = backends.where(xp, places == k, g, xp.zeros((), g.dtype))
        if window.overlapping:
            full[window.slices(offset, out)] += part
        else:
            full[window.slices(offset, out)] = part
    return xp.ascontiguousarray(inside(full, window, size))


@on_gpu("pooling.sum_windows")
@widened
def _run_sum(xp: Any, x: Any, *, window: Window) -> Any:
    out = window.out_size("avg_pool", size_of(x, window))
    full = padded(xp, x, window, out)
    first, *others = window.offsets()
    total = full[window.slices(first, out)].copy()
    for offset in others:
        total += full[window.slices(offset, out)]
    return total


def _infer_sum(x: Aval, *, window: Window) -> Aval:
    return Aval((*lead_of(x, window), *window.out_size("avg_pool", size_of(x, window))), x.dtype, x.device)


@on_gpu("pooling.share")
@widened
def _run_share(xp: Any, g: Any, *, window: Window, size: Lengths) -> Any:
    out = size_of(g, window)
    full = xp.zeros((*lead_of(g, window), *window.padded_size(size, out)), g.dtype)
    for offset in window.offsets():
        full[window.slices(offset, out)] += g
    return xp.ascontiguousarray(inside(full, window, size))


_CASES = (
    ((5, 6), Window.of((2, 2), (2, 2))),
    ((5, 6), Window.of((3, 2), (1, 2), (1, 1))),
    ((5, 6), Window.of((2, 2), (2, 2), ceil=True)),
    ((7,), Window.of((3,), (2,), (1,), (2,))),
    ((3, 2, 4), Window.of((2, 1, 2))),
)


def _samples(rng: np.random.Generator) -> list[Sample]:
    result = []
    for size, window in _CASES:
        distinct = rng.permutation(6 * math.prod(size)).reshape(2, 3, *size) / 10.0
        result.append(Sample((distinct,), {"window": window}))
    return result


def _pick_samples(rng: np.random.Generator) -> list[Sample]:
    return [
        Sample((rng.normal(size=s.arrays[0].shape), _run_max_pool(np, s.arrays[0], **s.params)[1]), s.params)
        for s in _samples(rng)
    ]


def _spread_samples(rng: np.random.Generator) -> list[Sample]:
    return [
        Sample((rng.normal(size=s.arrays[1].shape), s.arrays[1]), {**s.params, "size": s.arrays[0].shape[2:]})
        for s in _pick_samples(rng)
    ]


def _share_samples(rng: np.random.Generator) -> list[Sample]:
    return [Sample(s.arrays[:1], s.params) for s in _spread_samples(rng)]


max_pool: Op = register(
    Op(
        "max_pool",
        "reduce",
        run=_run_max_pool,
        infer=_infer_max_pool,
        vjp=(
            lambda g, out, _x, window: (
                None
                if g[0] is None
                else apply(spread_op, (g[0], out[1]), {"window": window, "size": size_of(_x, window)})
            ),
        ),
        onnx="MaxPool",
        samples=_samples,
        doc="The largest element of every window (NaN if it holds one), and its place in the window.",
    )
)
pick_op: Op = register(
    Op(
        "pick_from_windows",
        "index",
        run=_run_pick,
        infer=lambda x, places, *, window: Aval(places.shape, x.dtype, x.device),  # noqa: ARG005
        vjp=(
            lambda g, _out, _x, places, window: apply(
                spread_op, (g, places), {"window": window, "size": size_of(_x, window)}
            ),
            None,
        ),
        samples=_pick_samples,
        doc="From every window the element at the given place; leading dimensions of x may be 1.",
    )
)
spread_op: Op = register(
    Op(
        "spread_to_windows",
        "index",
        run=_run_spread,
        infer=lambda g, places, *, window, size: Aval((*lead_of(g, window), *size), g.dtype, g.device),  # noqa: ARG005
        vjp=(lambda g, _out, _g, places, window, size: apply(pick_op, (g, places), {"window": window}), None),  # noqa: ARG005
        samples=_spread_samples,
        doc="Zeros to which each element is added at the given place of its window: the adjoint of picking.",
    )
)
sum_windows: Op = register(
    Op(
        "sum_windows",
        "reduce",
        run=_run_sum,
        infer=_infer_sum,
        vjp=(lambda g, _out, _x, window: apply(share_op, (g,), {"window": window, "size": size_of(_x, window)}),),
        samples=_samples,
        doc="The sum of the elements of every window, padded with zeros.",
    )
)
share_op: Op = register(
    Op(
        "share_among_windows",
        "copy",
        run=_run_share,
        infer=lambda g, *, window, size: Aval((*lead_of(g, window), *size), g.dtype, g.device),
        vjp=(lambda g, _out, _g, window, size: apply(sum_windows, (g,), {"window": window}),),  # noqa: ARG005
        samples=_share_samples,
        doc="Zeros to which each element is added at every place of its window: the adjoint of summing windows.",
    )
)


def pick(x: Tensor, places: Tensor, window: Window) -> Tensor:
    """From every window of ``x``, whose leading dimensions may be 1, the element at the given place."""
    return apply(pick_op, (x, places), {"window": window})


def flat_positions(size: Lengths, like: Tensor) -> Tensor:
    """The index of every element of a flattened array of ``size``, with as many dimensions as ``like``."""
    return arange(math.prod(size), device=like.device).reshape((*(1,) * (like.ndim - len(size)), *size))
