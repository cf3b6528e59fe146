"""Sliding windows over the last two dimensions: convolution and pooling.

Convolution and its two gradients are three operators, each the gradient of the others, so gradients of any order stay
among them. On NumPy the windows are copied out once (im2col) and multiplied as matrices.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from torchlite import backends, dtypes
from torchlite._tensor import Tensor
from torchlite.dispatch import apply
from torchlite.ir import Aval, Op, Sample, register
from torchlite.ops.contraction import product

Pair = tuple[int, int]
_CACHE_BYTES = 1 << 20


class Window(NamedTuple):
    """The geometry of a sliding window, (height, width) each."""

    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    ceil: bool = False

    def out_size(self, name: str, size: Pair) -> Pair:
        """Number of window positions over an input of ``size``.

        Raises:
            RuntimeError: when the window does not fit into the padded input.
        """
        result = []
        for n, k, s, p, d in zip(size, *self[:4], strict=True):
            span = n + 2 * p - d * (k - 1) - 1
            if span < 0:
                raise RuntimeError(
                    f"{name}: kernel size {list(self.kernel)} (dilation {list(self.dilation)}) can't be greater than the "
                    f"padded input size {[m + 2 * q for m, q in zip(size, self.padding, strict=True)]}"
                )
            count = (-(-span // s) if self.ceil else span // s) + 1
            if self.ceil and (count - 1) * s >= n + p:  # a window that would start in the padding is left out
                count -= 1
            result.append(count)
        return result[0], result[1]

    def offsets(self) -> list[Pair]:
        """The window's elements in row-major order, as distances from its first."""
        (kh, kw), (dh, dw) = self.kernel, self.dilation
        return [(i * dh, j * dw) for i in range(kh) for j in range(kw)]

    def slices(self, offset: Pair, out: Pair) -> tuple[Any, ...]:
        """Where, in the padded input, the element at ``offset`` of every window lies."""
        return (
            ...,
            slice(offset[0], offset[0] + self.stride[0] * (out[0] - 1) + 1, self.stride[0]),
            slice(offset[1], offset[1] + self.stride[1] * (out[1] - 1) + 1, self.stride[1]),
        )

    def padded_size(self, size: Pair, out: Pair) -> Pair:
        """Size of the padded input, long enough for the last window."""
        (kh, kw), (dh, dw), (sh, sw), (ph, pw) = self.kernel, self.dilation, self.stride, self.padding
        return (
            max(size[0] + 2 * ph, (out[0] - 1) * sh + (kh - 1) * dh + 1),
            max(size[1] + 2 * pw, (out[1] - 1) * sw + (kw - 1) * dw + 1),
        )

    @property
    def overlapping(self) -> bool:
        """Whether one element may lie in several windows."""
        return any(s < (k - 1) * d + 1 for s, k, d in zip(self.stride, self.kernel, self.dilation, strict=True))


def _padded(xp: Any, x: Any, window: Window, out: Pair, value: float = 0.0) -> Any:
    size = x.shape[-2:]
    full = window.padded_size(size, out)
    if full == size:
        return x
    result = xp.full((*x.shape[:-2], *full), value, x.dtype)
    _inside(result, window, size)[...] = x
    return result


def _inside(padded: Any, window: Window, size: Pair) -> Any:
    (ph, pw), (h, w) = window.padding, size
    return padded[..., ph : ph + h, pw : pw + w]


def _blocks(xp: Any, batch: Any, rows: int, out: Pair) -> list[slice]:
    """Parts of a batch whose columns (``rows`` high) stay in the processor's cache from the copy to the product."""
    n = len(batch)
    sample_bytes = rows * out[0] * out[1] * batch.dtype.itemsize
    size = max(1, _CACHE_BYTES // max(1, sample_bytes) if xp is np else n)
    return [slice(start, start + size) for start in range(0, n, size)]


def _columns(xp: Any, x: Any, window: Window, out: Pair, groups: int) -> Any:
    """Every window as a column: (N, groups, C/groups · kh · kw, positions)."""
    n, c = x.shape[:2]
    padded = _padded(xp, x, window, out)
    if window.kernel == (1, 1) and window.stride == (1, 1):
        return padded.reshape(n, groups, c // groups, out[0] * out[1])
    columns = xp.empty((n, c, window.kernel[0] * window.kernel[1], *out), x.dtype)
    for k, offset in enumerate(window.offsets()):
        columns[:, :, k] = padded[window.slices(offset, out)]
    return columns.reshape(n, groups, -1, out[0] * out[1])


def _run_conv(xp: Any, x: Any, weight: Any, *bias: Any, window: Window, groups: int) -> Any:
    out = window.out_size("conv2d", x.shape[-2:])
    n, rows = x.shape[0], weight.shape[0] // groups
    kernels = weight.reshape(groups, rows, -1)
    result = xp.empty((n, groups, rows, out[0] * out[1]), x.dtype)
    for block in _blocks(xp, x, groups * kernels.shape[2], out):
        part = product(xp, kernels, _columns(xp, x[block], window, out, groups), result[block])
        for b in bias:
            part += b.reshape(groups, rows, 1)
    return result.reshape(n, weight.shape[0], *out)


def _run_input_grad(xp: Any, g: Any, weight: Any, *, window: Window, groups: int, size: Pair) -> Any:
    n, out = g.shape[0], g.shape[-2:]
    kernels = weight.reshape(groups, weight.shape[0] // groups, -1).swapaxes(1, 2)
    g = g.reshape(n, groups, weight.shape[0] // groups, -1)
    channels = weight.shape[1] * groups
    padded = xp.zeros((n, channels, *window.padded_size(size, out)), g.dtype)
    for block in _blocks(xp, g, groups * kernels.shape[1], out):
        columns = product(xp, kernels, g[block]).reshape(-1, channels, math.prod(window.kernel), *out)
        for k, offset in enumerate(window.offsets()):
            padded[block][window.slices(offset, out)] += columns[:, :, k]
    return xp.ascontiguousarray(_inside(padded, window, size))


def _run_weight_grad(xp: Any, x: Any, g: Any, *, window: Window, groups: int) -> Any:
    n, out = x.shape[0], g.shape[-2:]
    shape = (g.shape[1], x.shape[1] // groups, *window.kernel)
    rows = g.reshape(n, groups, g.shape[1] // groups, -1)
    kernels = xp.zeros((groups, rows.shape[2], math.prod(shape[1:])), x.dtype)
    for block in _blocks(xp, x, groups * kernels.shape[2], out):
        kernels += backends.sum_of_products(xp, rows[block], _columns(xp, x[block], window, out, groups))
    return kernels.reshape(shape)


def _infer_conv(x: Aval, weight: Aval, *bias: Aval, window: Window, groups: int) -> Aval:
    if x.shape[1] != weight.shape[1] * groups:
        raise RuntimeError(
            f"conv2d: given groups={groups}, weight of size {list(weight.shape)}, expected input {list(x.shape)} to have "
            f"{weight.shape[1] * groups} channels, but got {x.shape[1]} channels instead"
        )
    if weight.shape[0] % groups:
        raise RuntimeError(f"conv2d: {weight.shape[0]} output channels can't be divided into {groups} groups")
    if x.dtype != weight.dtype:
        raise RuntimeError(
            f"conv2d: input is {dtypes.of(x.dtype)} and weight is {dtypes.of(weight.dtype)}; convert one with .to()"
        )
    for b in bias:
        if b.shape != weight.shape[:1] or b.dtype != weight.dtype:
            raise RuntimeError(
                f"conv2d: bias {list(b.shape)} of {dtypes.of(b.dtype)} does not fit a weight {list(weight.shape)} of "
                f"{dtypes.of(weight.dtype)}"
            )
    return Aval((x.shape[0], weight.shape[0], *window.out_size("conv2d", x.shape[-2:])), x.dtype, x.device)  # type: ignore[arg-type]


_WINDOWS = (
    (Window((3, 3), padding=(1, 1)), 1),
    (Window((3, 2), stride=(2, 1), dilation=(1, 2)), 1),
    (Window((2, 2), padding=(1, 0)), 2),
    (Window((1, 1)), 1),
)


def _conv_samples(rng: np.random.Generator) -> list[Sample]:
    return [
        Sample(
            (rng.normal(size=(2, 4, 5, 6)), rng.normal(size=(6, 4 // groups, *window.kernel))),
            {"window": window, "groups": groups},
        )
        for window, groups in _WINDOWS
    ]


def _biased(rng: np.random.Generator) -> list[Sample]:
    return [Sample((*s.arrays, rng.normal(size=6)), s.params) for s in _conv_samples(rng)[:1]]


def _input_grad_samples(rng: np.random.Generator) -> list[Sample]:
    return [
        Sample(
            (rng.normal(size=_infer_conv(*_avals(s), **s.params).shape), s.arrays[1]),
            {**s.params, "size": (5, 6)},
        )
        for s in _conv_samples(rng)
    ]


def _weight_grad_samples(rng: np.random.Generator) -> list[Sample]:
    return [
        Sample((s.arrays[0], rng.normal(size=_infer_conv(*_avals(s), **s.params).shape)), s.params)
        for s in _conv_samples(rng)
    ]


def _avals(sample: Sample) -> list[Aval]:
    return [Aval(a.shape, a.dtype) for a in sample.arrays]


def _size(x: Any) -> Pair:
    return tuple(int(n) for n in x.shape[-2:])  # type: ignore[return-value]


conv2d_op: Op = register(
    Op(
        "conv2d",
        "contract",
        run=_run_conv,
        infer=_infer_conv,
        vjp=(
            lambda g, _out, _x, weight, *_bias, window, groups: apply(
                _input_grad, (g, weight), {"window": window, "groups": groups, "size": _size(_x)}
            ),
            lambda g, _out, x, _weight, *_bias, window, groups: apply(
                _weight_grad, (x, g), {"window": window, "groups": groups}
            ),
            lambda g, _out, _x, _weight, *_bias, window, groups: g.sum((0, 2, 3)),  # noqa: ARG005
        ),
        onnx="Conv",
        samples=lambda rng: [*_conv_samples(rng), *_biased(rng)],
        doc="out[n,o,i,j] = Σ x[n,c,i·s+u·d-p,j·s+v·d-p] · weight[o,c,u,v] + b[o] (cross-correlation), by groups of channels.",
    )
)
_input_grad: Op = register(
    Op(
        "conv2d_input_grad",
        "contract",
        run=_run_input_grad,
        infer=lambda g, weight, *, window, groups, size: Aval(  # noqa: ARG005
            (g.shape[0], weight.shape[1] * groups, *size), g.dtype, g.device
        ),
        vjp=(
            lambda g, _out, _g, weight, window, groups, size: apply(  # noqa: ARG005
                conv2d_op, (g, weight), {"window": window, "groups": groups}
            ),
            lambda g, _out, grad, _weight, window, groups, size: apply(  # noqa: ARG005
                _weight_grad, (g, grad), {"window": window, "groups": groups}
            ),
        ),
        samples=_input_grad_samples,
        doc="The cotangent of conv2d's input from that of its result: a transposed convolution.",
    )
)
_weight_grad: Op = register(
    Op(
        "conv2d_weight_grad",
        "contract",
        run=_run_weight_grad,
        infer=lambda x, g, *, window, groups: Aval(
            (g.shape[1], x.shape[1] // groups, *window.kernel), x.dtype, x.device
        ),
        vjp=(
            lambda g, _out, _x, grad, window, groups: apply(
                _input_grad, (grad, g), {"window": window, "groups": groups, "size": _size(_x)}
            ),
            lambda g, _out, x, _grad, window, groups: apply(conv2d_op, (x, g), {"window": window, "groups": groups}),
        ),
        samples=_weight_grad_samples,
        doc="The cotangent of conv2d's weight from its input and the cotangent of its result.",
    )
)


def _run_max_pool(xp: Any, x: Any, *, window: Window) -> tuple[Any, Any]:
    out = window.out_size("max_pool2d", x.shape[-2:])
    padded = _padded(xp, x, window, out, -np.inf if x.dtype.kind not in "iu" else np.iinfo(x.dtype).min)
    offsets = window.offsets()
    best = padded[window.slices(offsets[0], out)].copy()
    places = xp.zeros(best.shape, xp.uint8 if len(offsets) <= 256 else xp.int32)
    for k, offset in enumerate(offsets[1:], 1):
        candidate = padded[window.slices(offset, out)]
        better = candidate > best  # so the first of equals stays
        better |= candidate != candidate  # and NaN wins
        # Places only grow, so the larger one is the later one: a maximum is far cheaper than a masked copy.
        xp.maximum(places, better * places.dtype.type(k), out=places)
        xp.maximum(best, candidate, out=best)
    return best, places


def _infer_pool(x: Aval, *, window: Window) -> tuple[Aval, Aval]:
    shape = (*x.shape[:-2], *window.out_size("max_pool2d", x.shape[-2:]))  # type: ignore[arg-type]
    places = np.uint8 if window.kernel[0] * window.kernel[1] <= 256 else np.int32
    return Aval(shape, x.dtype, x.device), Aval(shape, np.dtype(places), x.device)


def _run_pick(xp: Any, x: Any, places: Any, *, window: Window) -> Any:
    out = places.shape[-2:]
    padded = _padded(xp, x, window, out)
    picked = xp.zeros(places.shape, x.dtype)
    for k, offset in enumerate(window.offsets()):
        xp.copyto(picked, padded[window.slices(offset, out)], where=places == k)
    return picked


def _run_spread(xp: Any, g: Any, places: Any, *, window: Window, size: Pair) -> Any:
    out = g.shape[-2:]
    padded = xp.zeros((*g.shape[:-2], *window.padded_size(size, out)), g.dtype)
    for k, offset in enumerate(window.offsets()):
        part = backends.where(xp, places == k, g, xp.zeros((), g.dtype))
        if window.overlapping:
            padded[window.slices(offset, out)] += part
        else:
            padded[window.slices(offset, out)] = part
    return xp.ascontiguousarray(_inside(padded, window, size))


_POOLS = (
    Window((2, 2), stride=(2, 2)),
    Window((3, 2), stride=(1, 2), padding=(1, 1)),
    Window((2, 2), (2, 2), ceil=True),
)


def _pool_samples(rng: np.random.Generator) -> list[Sample]:
    return [Sample((rng.permutation(2 * 3 * 5 * 6).reshape(2, 3, 5, 6) / 10.0,), {"window": w}) for w in _POOLS]


def _pick_samples(rng: np.random.Generator) -> list[Sample]:
    result = []
    for s in _pool_samples(rng):
        _, places = _run_max_pool(np, s.arrays[0], **s.params)
        result.append(Sample((rng.normal(size=(2, 3, 5, 6)), places), s.params))
    return result


def _spread_samples(rng: np.random.Generator) -> list[Sample]:
    return [
        Sample((rng.normal(size=s.arrays[1].shape), s.arrays[1]), {**s.params, "size": (5, 6)})
        for s in _pick_samples(rng)
    ]


max_pool2d_op: Op = register(
    Op(
        "max_pool2d",
        "reduce",
        run=_run_max_pool,
        infer=_infer_pool,
        vjp=(
            lambda g, out, _x, window: (
                None if g[0] is None else apply(_spread, (g[0], out[1]), {"window": window, "size": _size(_x)})
            ),
        ),
        onnx="MaxPool",
        samples=_pool_samples,
        doc="The largest element of every window (NaN if it holds one), and its place in the window.",
    )
)
_pick: Op = register(
    Op(
        "pick_from_windows",
        "index",
        run=_run_pick,
        infer=lambda x, places, *, window: Aval(places.shape, x.dtype, x.device),  # noqa: ARG005
        vjp=(
            lambda g, _out, _x, places, window: apply(_spread, (g, places), {"window": window, "size": _size(_x)}),
            None,
        ),
        samples=_pick_samples,
        doc="From every window the element at the given place.",
    )
)
_spread: Op = register(
    Op(
        "spread_to_windows",
        "index",
        run=_run_spread,
        infer=lambda g, places, *, window, size: Aval((*g.shape[:-2], *size), g.dtype, g.device),  # noqa: ARG005
        vjp=(lambda g, _out, _g, places, window, size: apply(_pick, (g, places), {"window": window}), None),  # noqa: ARG005
        samples=_spread_samples,
        doc="Zeros to which each element is added at the given place of its window: the adjoint of picking.",
    )
)


def flat_indices(places: Tensor, window: Window, size: Pair) -> Tensor:
    """Places in windows as indices into the flattened input plane, which is how PyTorch reports them."""
    data = places._data
    xp = backends.array_module(data)
    rows = xp.arange(data.shape[-2]).reshape(-1, 1) * window.stride[0] - window.padding[0]
    columns = xp.arange(data.shape[-1]) * window.stride[1] - window.padding[1]
    k = data.astype(np.int64)
    rows = rows + k // window.kernel[1] * window.dilation[0]
    columns = columns + k % window.kernel[1] * window.dilation[1]
    from torchlite._tensor import wrap

    out: Tensor = wrap(rows * size[1] + columns)
    return out
