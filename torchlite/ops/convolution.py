"""Convolution over any number of dimensions.

Convolution and its two gradients are three operators, each the gradient of the others, so gradients of any order stay
among them; the gradient of the input is the transposed convolution. Where neither a kernel in C nor cuDNN computes it, the
windows are copied out (im2col) and multiplied as matrices.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from torchlite import backends, dtypes
from torchlite._tensor import Tensor
from torchlite.backends.native import accelerated, kernel
from torchlite.backends.nvidia import on_gpu
from torchlite.dispatch import apply
from torchlite.ir import Aval, Op, Sample, register
from torchlite.ops.columns import add_columns, blocks, columns
from torchlite.ops.contraction import product
from torchlite.ops.half_precision import BFLOAT16, widened
from torchlite.ops.windows import Lengths, Window, inside, padded, size_of

_FEWEST = 1 << 12  # numbers of an input for which a compiled kernel is wanted


_Description = tuple[Lengths, Lengths, Lengths, Window, int, int]


def _in_bfloat16(
    name: str, described: Callable[..., _Description]
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate how a convolution runs: by kernels of bfloat16, except where it is faster to convert it.

    Args:
        name: of the kernel.
        described: from what the operator takes, the shapes of the input, the weight and the result, the window, the groups,
            and for how many channels sums are formed.
    """

    def decorate(run: Callable[..., Any]) -> Callable[..., Any]:
        direct = accelerated(f"bfloat16_convolution.{name}", least=_FEWEST, of=BFLOAT16)(run)

        @functools.wraps(run)
        def chosen(xp: Any, *arrays: Any, **params: Any) -> Any:
            if xp is np and arrays[0].dtype == BFLOAT16 and arrays[0].size >= _FEWEST:
                better = kernel("convolution.better_than_bfloat16")
                if better is not None and better(*described(*arrays, **params)):
                    return run(xp, *arrays, **params)
            return direct(xp, *arrays, **params)

        return chosen

    return decorate


def _described(x: Any, weight: Any, *_bias: Any, window: Window, groups: int) -> _Description:
    out = (x.shape[0], weight.shape[0], *window.out_size("convolution", size_of(x, window)))
    return x.shape, weight.shape, out, window, groups, weight.shape[0] // groups


def _described_input_grad(g: Any, weight: Any, *, window: Window, groups: int, size: Lengths) -> _Description:
    x = (g.shape[0], weight.shape[1] * groups, *size)
    return x, weight.shape, g.shape, window, groups, weight.shape[1]


def _described_weight_grad(x: Any, g: Any, *, window: Window, groups: int) -> _Description:
    weight = (g.shape[1], x.shape[1] // groups, *window.kernel)
    return x.shape, weight, g.shape, window, groups, min(weight[:2])


@on_gpu("convolution.convolution")
@_in_bfloat16("convolution", _described)
@widened
@accelerated("convolution.convolution", least=_FEWEST)
def _run_convolution(xp: Any, x: Any, weight: Any, *bias: Any, window: Window, groups: int) -> Any:
    out = window.out_size("convolution", size_of(x, window))
    if _small(xp, x, out):
        result = _run_convolution(xp, _stacked(x), weight[:, :, None], *bias, window=window.stacked(), groups=groups)
        return _unstacked(result)
    n, rows, height = x.shape[0], weight.shape[0] // groups, math.prod(weight.shape[1:])
    kernels = weight.reshape(groups, rows, height)
    result = xp.empty((n, groups, rows, math.prod(out)), x.dtype)
    for block, part in blocks(xp, x, groups * height, window, out):
        if part.start == 0:
            full = padded(xp, x[block], window, out)
        beside = columns(xp, full, window, out, part).reshape(len(full), groups, height, len(part) * math.prod(out[1:]))
        target = product(xp, kernels, beside, result[block][..., _positions(part, out)])
        for b in bias:
            target += b.reshape(groups, rows, 1)
    return result.reshape(n, weight.shape[0], *out)


_FEW_POSITIONS = 16


def _small(xp: Any, x: Any, out: Lengths) -> bool:
    """Whether samples are so small that one product for all is faster than one for each, which reads all kernels."""
    return xp is np and len(x) > 1 and math.prod(out) <= _FEW_POSITIONS


def _stacked(x: Any) -> Any:
    """A batch (N, C, *) as one sample (1, C, N, *), on which a window of length 1 moves from sample to sample."""
    return x.swapaxes(0, 1)[None]


def _unstacked(x: Any) -> Any:
    return np.ascontiguousarray(x[0].swapaxes(0, 1))


def _positions(part: range, out: Lengths) -> slice:
    """Where among all window positions those of some rows are."""
    across = math.prod(out[1:])
    return slice(part.start * across, part.stop * across)


@on_gpu("convolution.input_grad")
@_in_bfloat16("input_grad", _described_input_grad)
@widened
@accelerated("convolution.input_grad", least=_FEWEST)
def _run_input_grad(xp: Any, g: Any, weight: Any, *, window: Window, groups: int, size: Lengths) -> Any:
    n, out = g.shape[0], size_of(g, window)
    if _small(xp, g, out):
        kernel, size = weight[:, :, None], (n, *size)
        return _unstacked(_run_input_grad(xp, _stacked(g), kernel, window=window.stacked(), groups=groups, size=size))
    rows, height = weight.shape[0] // groups, math.prod(weight.shape[1:])
    kernels = weight.reshape(groups, rows, height).swapaxes(1, 2)
    g = g.reshape(n, groups, rows, math.prod(out))
    channels = weight.shape[1] * groups
    full = xp.zeros((n, channels, *window.padded_size(size, out)), g.dtype)
    multiply = xp.multiply if rows == 1 else functools.partial(product, xp)  # a matrix product of one column is slow
    for block, part in blocks(xp, g, groups * height, window, out):
        beside = multiply(kernels, g[block][..., _positions(part, out)])
        parts = beside.reshape(-1, channels, math.prod(window.kernel), len(part), *out[1:])
        add_columns(full[block], parts, window, part.start)
    return xp.ascontiguousarray(inside(full, window, size))


@on_gpu("convolution.weight_grad")
@_in_bfloat16("weight_grad", _described_weight_grad)
@widened
@accelerated("convolution.weight_grad", least=_FEWEST)
def _run_weight_grad(xp: Any, x: Any, g: Any, *, window: Window, groups: int) -> Any:
    n, out = x.shape[0], size_of(g, window)
    if _small(xp, g, out):
        return _run_weight_grad(xp, _stacked(x), _stacked(g), window=window.stacked(), groups=groups)[:, :, 0]
    shape = (g.shape[1], x.shape[1] // groups, *window.kernel)
    height = math.prod(shape[1:])
    rows = g.reshape(n, groups, g.shape[1] // groups, math.prod(out))
    kernels = xp.zeros((groups, rows.shape[2], height), x.dtype)
    for block, part in blocks(xp, x, groups * height, window, out):
        if part.start == 0:
            full = padded(xp, x[block], window, out)
        beside = columns(xp, full, window, out, part).reshape(len(full), groups, height, len(part) * math.prod(out[1:]))
        g_of_block = rows[block][..., _positions(part, out)]
        if len(beside) == 1:
            kernels += product(xp, g_of_block[0], beside[0].swapaxes(1, 2))
        else:
            kernels += backends.sum_of_products(xp, g_of_block, beside)
    return kernels.reshape(shape)


def _infer_convolution(x: Aval, weight: Aval, *bias: Aval, window: Window, groups: int) -> Aval:
    name = f"conv{window.ndim}d"
    if x.shape[1] != weight.shape[1] * groups:
        raise RuntimeError(
            f"{name}: given groups={groups}, weight of size {list(weight.shape)}, expected input {list(x.shape)} to have "
            f"{weight.shape[1] * groups} channels, but got {x.shape[1]} channels instead"
        )
    if weight.shape[0] % groups:
        raise RuntimeError(f"{name}: {weight.shape[0]} output channels can't be divided into {groups} groups")
    check_dtypes(name, x, weight, *bias)
    for b in bias:
        if b.shape != weight.shape[:1]:
            raise RuntimeError(f"{name}: bias {list(b.shape)} does not fit a weight {list(weight.shape)}")
    return Aval((x.shape[0], weight.shape[0], *window.out_size(name, size_of(x, window))), x.dtype, x.device)


def _infer_input_grad(g: Aval, weight: Aval, *, window: Window, groups: int, size: Lengths) -> Aval:
    name = f"conv_transpose{window.ndim}d"
    if g.shape[1] != weight.shape[0]:
        raise RuntimeError(
            f"{name}: given transposed=1, weight of size {list(weight.shape)}, expected input {list(g.shape)} to have "
            f"{weight.shape[0]} channels, but got {g.shape[1]} channels instead"
        )
    if weight.shape[0] % groups:
        raise RuntimeError(f"{name}: {weight.shape[0]} input channels can't be divided into {groups} groups")
    check_dtypes(name, g, weight)
    return Aval((g.shape[0], weight.shape[1] * groups, *size), g.dtype, g.device)


def check_dtypes(name: str, x: Any, weight: Any, *bias: Any) -> None:
    """Refuse arguments of different dtypes.

    Raises:
        RuntimeError: naming them.
    """
    for what, other in (("weight", weight), *(("bias", b) for b in bias)):
        if other.dtype != x.dtype:
            raise RuntimeError(
                f"{name}: input is {dtypes.of(x.dtype)} and {what} is {dtypes.of(other.dtype)}; convert one with .to()"
            )


_CASES = (
    ((5, 6), Window.of((3, 3), padding=(1, 1)), 1),
    ((5, 6), Window.of((3, 2), (2, 1), dilation=(1, 2)), 1),
    ((5, 6), Window.of((2, 2), padding=(1, 0)), 2),
    ((5, 6), Window.of((1, 1)), 1),
    ((7,), Window.of((3,), (2,), (1,)), 2),
    ((2, 3, 3), Window.of((2, 1, 2), (1, 2, 1), (0, 0, 1)), 1),
)


def _samples(rng: np.random.Generator) -> list[Sample]:
    return [
        Sample(
            (rng.normal(size=(2, 4, *size)), rng.normal(size=(6, 4 // groups, *window.kernel))),
            {"window": window, "groups": groups},
        )
        for size, window, groups in _CASES
    ]


def _biased(rng: np.random.Generator) -> list[Sample]:
    return [Sample((*s.arrays, rng.normal(size=6)), s.params) for s in _samples(rng)[::4]]


def _input_grad_samples(rng: np.random.Generator) -> list[Sample]:
    return [
        Sample(
            (rng.normal(size=_out_shape(s)), s.arrays[1]),
            {**s.params, "size": size_of(s.arrays[0], s.params["window"])},
        )
        for s in _samples(rng)
    ]


def _weight_grad_samples(rng: np.random.Generator) -> list[Sample]:
    return [Sample((s.arrays[0], rng.normal(size=_out_shape(s))), s.params) for s in _samples(rng)]


def _out_shape(sample: Sample) -> Lengths:
    return _infer_convolution(*(Aval(a.shape, a.dtype) for a in sample.arrays), **sample.params).shape


def _convolve(x: Tensor, weight: Tensor, window: Window, groups: int) -> Any:
    return apply(convolution, (x, weight), {"window": window, "groups": groups})


def _input_grad(g: Tensor, weight: Tensor, window: Window, groups: int, size: Lengths) -> Any:
    return apply(convolution_input_grad, (g, weight), {"window": window, "groups": groups, "size": size})


def _weight_grad(x: Tensor, g: Tensor, window: Window, groups: int) -> Any:
    return apply(convolution_weight_grad, (x, g), {"window": window, "groups": groups})


# The rules below are the three bilinear forms of Σ x·w·g with the factors that stay conjugated.
convolution: Op = register(
    Op(
        "convolution",
        "contract",
        run=_run_convolution,
        infer=_infer_convolution,
        vjp=(
            lambda g, _out, _x, weight, *_bias, window, groups: _input_grad(
                g, weight.conj(), window, groups, size_of(_x, window)
            ),
            lambda g, _out, x, _weight, *_bias, window, groups: _weight_grad(x.conj(), g, window, groups),
            lambda g, _out, _x, _weight, *_bias, window, groups: g.sum((0, *range(2, g.ndim))),  # noqa: ARG005
        ),
        onnx="Conv",
        samples=lambda rng: [*_samples(rng), *_biased(rng)],
        doc="out[n,o,i…] = Σ x[n,c,i·s+u·d-p…] · weight[o,c,u…] + b[o] (cross-correlation), by groups of channels.",
    )
)
convolution_input_grad: Op = register(
    Op(
        "convolution_input_grad",
        "contract",
        run=_run_input_grad,
        infer=_infer_input_grad,
        vjp=(
            lambda g, _out, _g, weight, window, groups, size: _convolve(g, weight.conj(), window, groups),  # noqa: ARG005
            lambda g, _out, grad, _weight, window, groups, size: _weight_grad(g, grad.conj(), window, groups),  # noqa: ARG005
        ),
        onnx="ConvTranspose",
        samples=_input_grad_samples,
        doc="The transposed convolution: the cotangent of the input of `convolution` from that of its result.",
    )
)
convolution_weight_grad: Op = register(
    Op(
        "convolution_weight_grad",
        "contract",
        run=_run_weight_grad,
        infer=lambda x, g, *, window, groups: Aval(
            (g.shape[1], x.shape[1] // groups, *window.kernel), x.dtype, x.device
        ),
        vjp=(
            lambda g, _out, _x, grad, window, groups: _input_grad(grad.conj(), g, window, groups, size_of(_x, window)),
            lambda g, _out, x, _grad, window, groups: _convolve(x.conj(), g, window, groups),
        ),
        samples=_weight_grad_samples,
        doc="The cotangent of the weight of `convolution` from its input and the cotangent of its result.",
    )
)
