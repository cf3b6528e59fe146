"""Pooling and its gradients by kernels of our own (``pooling.cu``), one launch each."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import numpy as np

from torchlite.backends import array_module, cupy, gpu
from torchlite.backends.nvidia import channels, halves
from torchlite.backends.nvidia.compilation import or_array_operations

_CONSTANTS = """\
typedef {type} T;
typedef {real} real;
typedef {places} P;
__device__ inline T narrowed(real x) {{ return as_{dtype}(x); }}
constexpr bool LAST = {last};
"""
_NAMES = ("max_pool", "spread", "sum_windows", "share")
_PLACES = {"uint8": "unsigned char", "int32": "int"}
_THREADS = 256
_MOST_ELEMENTS = 1 << 31
_DIMS = 3


@functools.lru_cache(256)
def _kernels(_device: int, dtype: str, places: str, last: bool, window: Any) -> Any:
    """The kernels by their names; None, after a warning, where they can't be compiled."""
    for _ in range(_DIMS - window.ndim):
        window = window.stacked()
    real = "double" if dtype == "float64" else "float"
    text = _CONSTANTS.format(
        type=halves.FLOATS[dtype], real=real, places=_PLACES[places], dtype=dtype, last=str(last).lower()
    )
    for name, lengths in zip(("KERNEL", "STRIDE", "PADDING", "DILATION"), window[:4], strict=True):
        text += "".join(f"constexpr int {name}{d} = {n};\n" for d, n in enumerate(lengths))
    code = halves.prelude(dtype) + text + Path(__file__).with_name("pooling.cu").read_text()

    def compiled() -> dict[str, Any]:
        module = cupy().RawModule(code=code, options=("--std=c++17",))
        return {name: module.get_function(name) for name in _NAMES}

    return or_array_operations("pooling", compiled)


def _handled(window: Any, *arrays: Any) -> bool:
    """Whether there are kernels for this geometry, in which every window has an element, and for arrays of these sizes."""
    return (
        window.ndim <= _DIMS
        and halves.name(arrays[0].dtype) in halves.FLOATS
        and all(
            p == 0 or (p < k and d == 1) for k, p, d in zip(window.kernel, window.padding, window.dilation, strict=True)
        )
        and all(x.ndim > window.ndim and 0 < x.size < _MOST_ELEMENTS for x in arrays)
    )


def _are_last(x: Any, window: Any) -> bool:
    """Whether samples have channels that lie innermost in memory."""
    return x.ndim == window.ndim + 2 and channels.are_last(x)


def _spread_out(x: Any, ndim: int) -> tuple[Any, list[Any]]:
    """An array as (lead, channels, D, H, W), and its strides in elements."""
    size = x.shape[x.ndim - ndim :]
    lead = x.shape[: x.ndim - ndim]
    outer, inner = math.prod(lead[:-1]), lead[-1]
    x = x.reshape(outer, inner, *(1,) * (_DIMS - ndim), *size)
    return x, [np.int64(step // x.itemsize) for step in x.strides]


def _launch(
    name: str, inputs: tuple[Any, ...], window: Any, sizes: tuple[Any, Any], result: Any, *more: Any, last: bool
) -> bool:
    """Fill ``result``, of as many elements as threads; False where the kernels can't be compiled.

    Args:
        name: of the kernel.
        inputs: what is read, with any strides.
        window: the geometry.
        sizes: of what windows lie over, and how many windows there are along each dimension.
        result: where to.
        more: other results.
        last: whether channels lie innermost in the results.
    """
    ndim = window.ndim
    places = next((halves.name(x.dtype) for x in (*inputs[1:], *more)), "uint8")
    kernels = _kernels(result.device.id, halves.name(result.dtype), places, last, window)
    if kernels is None:
        return False
    spread = [_spread_out(x, ndim) for x in inputs]
    ones = (1,) * (_DIMS - ndim)
    lengths = [np.int32(n) for size in sizes for n in (*ones, *size)]
    numbers = (np.int32(spread[0][0].shape[1]), *lengths, np.int32(result.size))
    read = [part for x, strides in spread for part in (x, *strides)]
    kernels[name]((-(-result.size // _THREADS),), (_THREADS,), (*read, result, *more, *numbers))
    return True


def max_pool(x: Any, *, window: Any) -> Any:
    """The largest element of every window, and its place in the window."""
    places = np.uint8 if math.prod(window.kernel) <= 256 else np.int32
    return _over_windows("max_pool", "max_pool", x, window, places)


def spread(g: Any, places: Any, *, window: Any, size: tuple[int, ...]) -> Any:
    """Zeros to which each element is added at the given place of its window."""
    if not _handled(window, g) or places.shape != g.shape or halves.name(places.dtype) not in _PLACES:
        return None
    return _over_elements("spread", (g, places), window, size)


def share(g: Any, *, window: Any, size: tuple[int, ...]) -> Any:
    """Zeros to which each element is added at every place of its window."""
    return _over_elements("share", (g,), window, size) if _handled(window, g) else None


def _over_elements(name: str, inputs: tuple[Any, ...], window: Any, size: tuple[int, ...]) -> Any:
    """A gradient, of ``size`` after the leading dimensions."""
    g = inputs[0]
    lead = g.shape[: g.ndim - window.ndim]
    if math.prod(lead) * math.prod(size) >= _MOST_ELEMENTS or 0 in size:
        return None
    xp, last = array_module(g), _are_last(g, window)
    with gpu(g.device.id):
        result = channels.empty(xp, (*lead, *size), g.dtype, last)
        sizes = (size, g.shape[g.ndim - window.ndim :])
        return result if _launch(name, inputs, window, sizes, result, last=last) else None


def sum_windows(x: Any, *, window: Any) -> Any:
    """The sum of the elements of every window."""
    sums = _over_windows("sum_windows", "avg_pool", x, window)
    return None if sums is None else sums[0]


def _over_windows(name: str, operator: str, x: Any, window: Any, *others: Any) -> tuple[Any, ...] | None:
    """What a kernel makes of every window: an array of the dtype of ``x``, and those of the dtypes ``others``."""
    if not _handled(window, x):
        return None
    size = x.shape[x.ndim - window.ndim :]
    out = window.out_size(operator, size)
    xp, last = array_module(x), _are_last(x, window)
    with gpu(x.device.id):
        shape = (*x.shape[: x.ndim - window.ndim], *out)
        results = tuple(channels.empty(xp, shape, dtype, last) for dtype in (x.dtype, *others))
        return results if _launch(name, (x,), window, (size, out), *results, last=last) else None
