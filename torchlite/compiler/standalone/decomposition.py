"""Operators that have no kernel in C, written out as operators that have one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.passes.steps import Rule, Steps, aval_of, written_out
from torchlite.compiler.program.expressions import expression
from torchlite.compiler.program.lowering import lowering
from torchlite.compiler.program.reductions import reduction
from torchlite.ops.views import select_op
from torchlite.ops.windows import Window, size_of

_ROUNDS = 4  # a convolution by groups in one dimension is one in two dimensions, then one for each group


def with_kernels(graph: Graph) -> Graph:
    """The graph with what has no kernel written out as far as there are rules."""
    for _ in range(_ROUNDS):
        graph = written_out(graph, _RULES, lambda node: not has_kernel(node))
    return graph


def has_kernel(node: Node) -> bool:
    """Whether an operation is C in a program."""
    if node.op.kind in ("view", "host"):
        return True
    return any(found is not None for found in (expression(node), reduction(node), lowering(node)))


def _part(ndim: int, dim: int, entry: Any) -> tuple[Any, ...]:
    return tuple(entry if d == dim else slice(None) for d in range(ndim))


def _ndim(v: Value) -> int:
    return len(v.shape)


def _dense_view(s: Steps, x: Value, shape: tuple[int, ...]) -> Value:
    return s.view(s.clone(x, order=()), shape=shape)


# Elements


def _where_positive(s: Steps, x: Value, above: Value, below: Value) -> Value:
    return s.where(s.gt(x, 0), above, below)


def _leaky_relu(s: Steps, x: Value, *, negative_slope: float) -> Value:
    return _where_positive(s, x, x, s.mul(x, negative_slope))


def _elu(s: Steps, x: Value, *, alpha: float, scale: float, slope: float) -> Value:
    below = s.expm1(s.mul(s.minimum(x, 0), slope))
    return _where_positive(s, x, s.mul(x, scale), s.mul(below, alpha * scale))


def _hardtanh(s: Steps, x: Value, *, min_val: float, max_val: float) -> Value:
    return s.minimum(s.maximum(x, min_val), max_val)


def _softplus(s: Steps, x: Value, *, beta: float, threshold: float) -> Value:
    scaled = s.mul(x, beta)
    out = s.div(s.add(s.maximum(scaled, 0), s.log1p(s.exp(s.neg(s.abs(scaled))))), beta)
    return out if math.isinf(threshold) else s.where(s.gt(scaled, threshold), x, out)


def _sign(s: Steps, x: Value) -> Value:
    return s.where(s.gt(x, 0), s.number(1, x), s.where(s.lt(x, 0), s.number(-1, x), x))


def _isnan(s: Steps, x: Value) -> Value:
    return s.ne(x, x)


def _isfinite(s: Steps, x: Value) -> Value:
    return s.lt(s.abs(x), math.inf)


def _isinf(s: Steps, x: Value) -> Value:
    return s.eq(s.abs(x), math.inf)


def _floor_divide(s: Steps, x: Value, y: Value) -> Value | None:
    return s.floor(s.div(x, y)) if aval_of(x).dtype.kind == "f" else None


def _remainder(s: Steps, x: Value, y: Value) -> Value | None:
    return s.sub(x, s.mul(y, s.floor(s.div(x, y)))) if aval_of(x).dtype.kind == "f" else None


def _fill(s: Steps, x: Value, value: Value) -> Value:
    return s.expand(value, shape=tuple(x.shape))


def _triangle(s: Steps, x: Value, *, upper: bool, diagonal: int) -> Value:
    ones = np.ones(x.shape[-2:], bool)
    kept = np.triu(ones, diagonal) if upper else np.tril(ones, diagonal)
    return s.where(s.array(kept), x, s.number(0, x))


# Along a dimension


def _last(rule: Rule) -> Rule:
    """A rule of the last dimension as one of any."""

    def turned(s: Steps, x: Value, *, dim: int) -> Value | None:
        ndim = _ndim(x)
        if dim == ndim - 1:
            return rule(s, x)
        order = tuple([d for d in range(ndim) if d != dim] + [dim])
        found = rule(s, s.clone(s.permute(x, dims=order), order=()))
        return found and s.permute(found, dims=tuple(int(d) for d in np.argsort(order)))

    return turned


def _softmax(s: Steps, x: Value) -> Value:
    return s.softmax(x, dim=_ndim(x) - 1)


def _log_softmax(s: Steps, x: Value) -> Value:
    return s.log_softmax(x, dim=_ndim(x) - 1)


def _cumsum(s: Steps, x: Value) -> Value | None:
    if aval_of(x).dtype != np.float32 or _ndim(x) < 2:
        return None
    n = x.shape[-1]
    return s.matmul(x, s.array(np.triu(np.ones((n, n), np.float32))))


def _extreme(name: str) -> Rule:
    def rule(s: Steps, x: Value, *, dims: tuple[int, ...], keepdim: bool) -> Value:  # noqa: ARG001 - the result's shape says it
        choose = getattr(s, name)
        ndim = _ndim(x)
        for dim in dims:  # halves are compared until one element is left
            while (n := x.shape[dim]) > 1:
                half = n // 2
                parts = [s.select(x, index=_part(ndim, dim, slice(i * half, (i + 1) * half))) for i in range(2)]
                larger = choose(*parts)
                if n % 2:
                    rest = s.select(x, index=_part(ndim, dim, slice(n - 1, n)))
                    larger = s.cat(larger, rest, dim=dim, lengths=(half, 1))
                x = larger
        return _dense_view(s, x, s.node.outputs[0].shape)

    return rule


def _vector_norm(s: Steps, x: Value, *, p: float, dims: tuple[int, ...], keepdim: bool) -> Value | None:
    if p == 2:
        return s.sqrt(s.sum(s.square(x), dims=dims, keepdim=keepdim))
    return s.sum(s.abs(x), dims=dims, keepdim=keepdim) if p == 1 else None


def _standardize(s: Steps, x: Value, *, dims: tuple[int, ...], eps: float) -> tuple[Value, ...]:
    mean = s.mean(x, dims=dims, keepdim=True)
    centred = s.sub(x, mean)
    scale = s.rsqrt(s.add(s.mean(s.square(centred), dims=dims, keepdim=True), eps))
    return s.mul(centred, scale), mean, scale


def _flip(s: Steps, x: Value, *, dims: tuple[int, ...]) -> Value:
    index = tuple(slice(None, None, -1) if d in dims else slice(None) for d in range(_ndim(x)))
    return s.clone(s.select(x, index=index), order=())


def _constant_pad(s: Steps, x: Value, *, widths: tuple[tuple[int, int], ...], value: float) -> Value:
    kept = tuple(slice(max(-before, 0), n - max(-after, 0)) for (before, after), n in zip(widths, x.shape, strict=True))
    if any(part != slice(0, n) for part, n in zip(kept, x.shape, strict=True)):
        x = s.select(x, index=kept)
    return _padded(s, x, tuple((max(before, 0), max(after, 0)) for before, after in widths), value)


def _padded(s: Steps, x: Value, widths: tuple[tuple[int, int], ...], value: float) -> Value:
    if not any(before or after for before, after in widths):
        return x
    if value == 0:
        shape = tuple(n + before + after for n, (before, after) in zip(x.shape, widths, strict=True))
        inside = tuple(slice(before, before + n) for n, (before, _) in zip(x.shape, widths, strict=True))
        return s.embed_view(x, recipe=((select_op, {"index": inside}),), shape=shape)
    for dim, sides in enumerate(widths):
        parts = [x]
        for place, width in zip((0, 2), sides, strict=True):
            if width:
                border = np.full((*x.shape[:dim], width, *x.shape[dim + 1 :]), value, aval_of(x).dtype)
                parts.insert(place, s.array(border))
        if len(parts) > 1:
            x = s.cat(*parts, dim=dim, lengths=tuple(part.shape[dim] for part in parts))
    return x


# Windows


def _window_parts(s: Steps, x: Value, window: Window, value: float) -> list[Value]:
    """For each place of the window the elements there, of all windows."""
    ghost = np.broadcast_to(np.int8(0), x.shape)
    size = size_of(ghost, window)
    out = window.out_size(s.node.op.name, size)
    full, lead = window.padded_size(size, out), len(x.shape) - window.ndim
    behind = [m - n - p for m, n, p in zip(full, size, window.padding, strict=True)]
    x = _padded(s, x, ((0, 0),) * lead + tuple(zip(window.padding, behind, strict=True)), value)
    parts = [window.slices(offset, out)[1:] for offset in window.offsets()]
    return [s.select(x, index=(slice(None),) * lead + part) for part in parts]


def _chained(choose: Any, parts: list[Value]) -> Value:
    """Parts put together in pairs, then pairs of these: the order of a balanced tree."""
    while len(parts) > 1:
        pairs = [choose(*parts[i : i + 2]) for i in range(0, len(parts) - 1, 2)]
        parts = pairs + parts[len(parts) - len(parts) % 2 :]
    return parts[0]


def _sum_windows(s: Steps, x: Value, *, window: Window) -> Value:
    parts = _window_parts(s, x, window, 0.0)
    return s.clone(_chained(s.add, parts), order=None) if len(parts) == 1 else _chained(s.add, parts)


def _max_pool(s: Steps, x: Value, *, window: Window) -> tuple[Value, ...]:
    """The places are what only a gradient asks for; `text` refuses a graph that does."""
    best = _chained(s.maximum, _window_parts(s, x, window, -math.inf))
    return best, s.node.outputs[1]


def _resample(s: Steps, x: Value, *, dim: int, taps: Any) -> Value:
    dtype, count = aval_of(x).dtype, taps.places.shape[1]
    matrix = np.zeros((taps.length, count), dtype)
    weights = np.ones(taps.places.shape) if taps.weights is None else taps.weights
    np.add.at(matrix, (taps.places, np.arange(count)), weights.astype(dtype))
    if taps.unused is not None:
        matrix[:, taps.unused] = 0
    ndim = _ndim(x)
    order = tuple([d for d in range(ndim) if d != dim] + [dim])
    turned = s.permute(x, dims=order)
    rows = _dense_view(s, turned, (math.prod(turned.shape[:-1]), taps.length))
    made = s.view(s.matmul(rows, s.array(matrix)), shape=(*turned.shape[:-1], count))
    return s.clone(s.permute(made, dims=tuple(int(d) for d in np.argsort(order))), order=())


def _convolution(s: Steps, x: Value, weight: Value, *bias: Value, window: Window, groups: int) -> Value | None:
    if window.ndim == 1:
        wide = s.convolution(_wide(s, x), _wide(s, weight), *bias, window=window.stacked(), groups=groups)
        return s.view(s.clone(wide, order=()), shape=s.node.outputs[0].shape)
    if groups == 1:
        return None
    kernels = weight.shape[0] // groups
    parts = []
    for group in range(groups):
        channels = slice(group * weight.shape[1], (group + 1) * weight.shape[1])
        own = slice(group * kernels, (group + 1) * kernels)
        given = [s.select(v, index=(own,)) for v in (weight, *bias)]
        part = s.clone(s.select(x, index=(slice(None), channels)), order=())
        parts.append(s.convolution(part, *(s.clone(v, order=()) for v in given), window=window, groups=1))
    return s.cat(*parts, dim=1, lengths=(kernels,) * groups)


def _input_grad(
    s: Steps, g: Value, weight: Value, *, window: Window, groups: int, size: tuple[int, ...]
) -> Value | None:
    if window.ndim == 1:
        wide = s.convolution_input_grad(
            _wide(s, g), _wide(s, weight), window=window.stacked(), groups=groups, size=(1, *size)
        )
        return s.view(s.clone(wide, order=()), shape=s.node.outputs[0].shape)
    if groups == 1:
        return None
    rows = weight.shape[0] // groups
    parts = []
    for group in range(groups):
        own = slice(group * rows, (group + 1) * rows)
        part = s.clone(s.select(g, index=(slice(None), own)), order=())
        kernel = s.clone(s.select(weight, index=(own,)), order=())
        parts.append(s.convolution_input_grad(part, kernel, window=window, groups=1, size=size))
    return s.cat(*parts, dim=1, lengths=(weight.shape[1],) * groups)


def _wide(s: Steps, x: Value) -> Value:
    """(A, B, L) as (A, B, 1, L)."""
    return s.select(x, index=(slice(None), slice(None), None))


# Sequences


def _attention(s: Steps, q: Value, k: Value, v: Value, *mask: Value, causal: bool, scale: float) -> Value | None:
    """With one dimension of batches and one of heads, as the kernel has them."""
    ndim = _ndim(q)
    if ndim == 4:
        return None
    lead = q.shape[:-2]
    heads = lead[-1] if lead else 1
    four = [_dense_view(s, x, (math.prod(lead) // max(heads, 1), heads, *x.shape[-2:])) for x in (q, k, v, *mask)]
    made = s.attention(*four, causal=causal, scale=scale)
    return _dense_view(s, made, s.node.outputs[0].shape)


def _rnn(
    s: Steps, gates: Value, h: Value, w_hh: Value, *, nonlinearity: str, batch_sizes: Any, reverse: bool
) -> Value | None:
    if batch_sizes is not None:
        return None
    steps: list[Value] = []
    for t in range(gates.shape[0]):
        at = gates.shape[0] - 1 - t if reverse else t
        total = s.add(s.select(gates, index=(at,)), s.linear(h, w_hh))
        h = s.tanh(total) if nonlinearity == "tanh" else s.relu(total)
        steps.append(s.view(h, shape=(1, *h.shape)))
    if reverse:
        steps.reverse()
    return s.cat(*steps, dim=0, lengths=(1,) * len(steps))


_RULES: dict[str, Rule] = {
    "amax": _extreme("maximum"), "amin": _extreme("minimum"), "attention": _attention, "constant_pad": _constant_pad,
    "convolution": _convolution, "convolution_input_grad": _input_grad, "cumsum": _last(_cumsum), "elu": _elu, "fill": _fill,
    "flip": _flip, "floor_divide": _floor_divide, "hardtanh": _hardtanh, "isfinite": _isfinite, "isinf": _isinf,
    "isnan": _isnan, "leaky_relu": _leaky_relu, "log_softmax": _last(_log_softmax), "max_pool": _max_pool,
    "remainder": _remainder, "resample": _resample, "rnn": _rnn, "sign": _sign, "softmax": _last(_softmax),
    "softplus": _softplus, "standardize": _standardize, "sum_windows": _sum_windows, "triangle": _triangle,
    "vector_norm": _vector_norm,
}  # fmt: skip
