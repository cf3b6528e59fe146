"""Windows copied out as columns, and added back: im2col and col2im, on which convolutions are products of matrices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from torchlite._tensor import Tensor
from torchlite.dispatch import apply
from torchlite.ir import Aval, Op, Sample, register
from torchlite.ops.half_precision import widened
from torchlite.ops.windows import Lengths, Window, inside, padded, size_of

_CACHE_BYTES = 1 << 20


def blocks(xp: Any, batch: Any, rows: int, window: Window, out: Lengths) -> list[tuple[slice, range]]:
    """Parts of a batch (samples, rows of windows) whose columns stay in the processor's cache from the copy to the product.

    ``rows`` is the height of the columns. Samples are divided only where a single one is too large.
    """
    n, whole = len(batch), range(out[0])
    if xp is not np:
        return [(slice(0, n), whole)] if n else []
    row_bytes = max(1, rows * math.prod(out[1:]) * batch.dtype.itemsize)
    at_once = _CACHE_BYTES // row_bytes
    if at_once >= out[0] or window.trivial:
        samples = max(1, at_once // out[0])
        return [(slice(i, i + samples), whole) for i in range(0, n, samples)]
    step = max(1, at_once)
    parts = [whole[first : first + step] for first in range(0, out[0], step)]
    return [(slice(i, i + 1), part) for i in range(n) for part in parts]


def columns(xp: Any, x: Any, window: Window, out: Lengths, part: range | None = None) -> Any:
    """Every window of the padded x (N, C, *) as a column: (N, C, elements of the window, *out).

    Where ``part`` gives some of the rows of windows, those only.
    """
    n, c = x.shape[:2]
    if window.trivial:
        return x.reshape(n, c, 1, *out)
    first, out = (0, out) if part is None else (part.start, (len(part), *out[1:]))
    result = xp.empty((n, c, math.prod(window.kernel), *out), x.dtype)
    for k, offset in enumerate(window.offsets()):
        result[:, :, k] = x[window.slices(offset, out, first)]
    return result


def add_columns(full: Any, columns: Any, window: Window, first: int = 0) -> None:
    """Add columns (N, C, elements of the window, *out) to the padded input ``full`` where they were copied from."""
    for k, offset in enumerate(window.offsets()):
        full[window.slices(offset, columns.shape[3:], first)] += columns[:, :, k]


def _run_columns(xp: Any, x: Any, *, window: Window) -> Any:
    out = window.out_size("unfold", size_of(x, window))
    copied = columns(xp, padded(xp, x, window, out), window, out)
    return copied.reshape(x.shape[0], x.shape[1] * math.prod(window.kernel), math.prod(out))


def _infer_columns(x: Aval, *, window: Window) -> Aval:
    out = window.out_size("unfold", size_of(x, window))
    return Aval((x.shape[0], x.shape[1] * math.prod(window.kernel), math.prod(out)), x.dtype, x.device)


@widened
def _run_folded(xp: Any, g: Any, *, window: Window, size: Lengths) -> Any:
    out = window.out_size("fold", size)
    elements = math.prod(window.kernel)
    parts = g.reshape(g.shape[0], g.shape[1] // elements, elements, *out)
    full = xp.zeros((*parts.shape[:2], *window.padded_size(size, out)), g.dtype)
    add_columns(full, parts, window)
    return xp.ascontiguousarray(inside(full, window, size))


def _infer_folded(g: Aval, *, window: Window, size: Lengths) -> Aval:
    elements, positions = math.prod(window.kernel), math.prod(window.out_size("fold", size))
    if g.shape[1] % elements:
        raise RuntimeError(
            "fold: Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got "
            f"input.size(1)={g.shape[1]} and kernel_size={window.kernel}"
        )
    if g.shape[2] != positions:
        raise RuntimeError(
            f"fold: Given output_size={size}, kernel_size={window.kernel}, dilation={window.dilation}, "
            f"padding={window.padding}, stride={window.stride}, expected size of input's dimension 2 to match the "
            f"calculated number of sliding blocks, {positions}, but got input.size(2)={g.shape[2]}"
        )
    return Aval((g.shape[0], g.shape[1] // elements, *size), g.dtype, g.device)


_SIZE = (5, 4)
_WINDOWS = (Window.of((2, 3), padding=(1, 0)), Window.of((2, 2), (2, 1), dilation=(1, 2)))


def _samples(rng: np.random.Generator) -> list[Sample]:
    return [Sample((rng.normal(size=(2, 3, *_SIZE)),), {"window": window}) for window in _WINDOWS]


def _folded_samples(rng: np.random.Generator) -> list[Sample]:
    return [
        Sample((rng.normal(size=_run_columns(np, *s.arrays, **s.params).shape),), {**s.params, "size": _SIZE})
        for s in _samples(rng)
    ]


im2col: Op = register(
    Op(
        "im2col",
        "copy",
        run=_run_columns,
        infer=_infer_columns,
        vjp=(lambda g, _out, _x, window: _added(g, window, size_of(_x, window)),),
        samples=_samples,
        doc="Every window of (N, C, *) as a column: (N, C · elements of the window, positions).",
    )
)
col2im: Op = register(
    Op(
        "col2im",
        "copy",
        run=_run_folded,
        infer=_infer_folded,
        vjp=(lambda g, _out, _g, window, size: apply(im2col, (g,), {"window": window}),),  # noqa: ARG005
        samples=_folded_samples,
        doc="Zeros of (N, C, *size) to which every column is added at its window: the adjoint of im2col.",
    )
)


def _added(g: Tensor, window: Window, size: Lengths) -> Any:
    return apply(col2im, (g,), {"window": window, "size": size})
