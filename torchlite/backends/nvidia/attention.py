"""Attention and its gradients by kernels of our own (``attention.cu``), which store no scores of queries and keys."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from torchlite.backends import array_module, cupy, gpu
from torchlite.backends.nvidia import halves
from torchlite.backends.nvidia.compilation import or_array_operations

_T = TypeVar("_T")

_TILE, _SIDE = 64, 16  # as in the text
_WIDEST = 128  # of which the sums fit into registers
_MOST_BLOCKS = 1 << 16  # beside each other and behind each other
_TYPES = {"float32": "float", **halves.TYPES}
_NAMES = ("attention", "attention_rows", "attention_grad_q", "attention_grad_kv")
_CORES = {"float16": "f16", "bfloat16": "bf16"}  # the types of PTX for which tensor cores are used
_FIRST_CAPABILITY = 80  # from which GPUs have what is used of them
_CONSTANTS = """\
typedef {type} T;
__device__ inline T narrowed(float x) {{ return as_{dtype}(x); }}
#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#endif
#ifndef NAN
#define NAN __int_as_float(0x7fffffff)
#endif
constexpr int E = {keys}, V = {values};
constexpr bool CAUSAL = {causal}, MASKED = {masked};
"""


def source(capability: int, dtype: str, keys: int, values: int, causal: bool, masked: bool) -> str:
    """The text of the kernels for a GPU of this compute capability, arrays of a dtype, and keys and values of these widths."""
    constants = _CONSTANTS.format(
        type=_TYPES[dtype],
        dtype=dtype,
        keys=keys,
        values=values,
        causal=str(causal).lower(),
        masked=str(masked).lower(),
    )
    if dtype in _CORES and capability >= _FIRST_CAPABILITY:
        constants += f'#define TENSOR_CORES "{_CORES[dtype]}"\n'
    text = Path(__file__).with_name("attention.cu").read_text()
    return halves.prelude(dtype) + constants + text


@functools.lru_cache(256)
def _kernels(device: int, *constants: Any) -> dict[str, Any] | None:
    """The compiled kernels by name; None, after a warning, where they can't be compiled."""

    def compiled() -> dict[str, Any]:
        capability = int(cupy().cuda.Device(device).compute_capability)
        module = cupy().RawModule(code=source(capability, *constants), options=("--std=c++17",))
        return {name: module.get_function(name) for name in _NAMES}

    return or_array_operations("attention", compiled)


class _Attention:
    """A call's arrays as the kernels take them: with two leading dimensions, and rows without gaps.

    Args:
        q, k, v: as the operator's.
        mask: nothing or one array.
        causal: whether keys behind the query's position are hidden.
        scale: of the scores.
    """

    def __init__(self, q: Any, k: Any, v: Any, mask: tuple[Any, ...], causal: bool, scale: float) -> None:
        self.queries, self.keys = q.shape[-2], k.shape[-2]
        self.kernels = _kernels(q.device.id, halves.name(q.dtype), q.shape[-1], v.shape[-1], causal, bool(mask))
        laid = _laid(q)
        self.batch, self.heads = laid.shape[:2]
        self.arrays = [*_strided(laid, 3), *_strided(_laid(k), 3), *_strided(_laid(v), 3)]
        self.arrays += _strided(_laid(mask[0], dense=False) if mask else laid, 4)
        self.numbers = (np.int32(self.queries), np.int32(self.keys), np.float32(scale))

    def launch(self, name: str, rows: int, *others: Any) -> None:
        """Run a kernel with a block for each 64 of ``rows``."""
        assert self.kernels is not None
        grid, block = (-(-rows // _TILE), self.heads, self.batch), (_SIDE, _SIDE)
        self.kernels[name](grid, block, (*self.arrays, *others, *self.numbers))


def _laid(x: Any, dense: bool = True) -> Any:
    """An array (*, rows, width) as (batch, heads, rows, width); where ``dense``, with rows without gaps."""
    if dense and x.shape[-1] > 1 and x.strides[-1] != x.itemsize:
        x = array_module(x).ascontiguousarray(x)
    if x.ndim == 4:
        return x
    return x[(None,) * (4 - x.ndim)] if x.ndim < 4 else x.reshape(1, -1, *x.shape[-2:])


def _strided(x: Any, dims: int) -> list[Any]:
    """An array, and the strides of its first dimensions in elements."""
    return [x, *(np.int64(step // x.itemsize) for step in x.strides[:dims])]


def _handled(q: Any, k: Any, v: Any, *others: Any) -> bool:
    """Whether there are kernels for arrays of this dtype, width and number, whose shapes fit each other."""
    arrays = (q, k, v, *others)
    fit = all(x.shape[:-2] == q.shape[:-2] and x.dtype == q.dtype for x in arrays) and k.shape[:-1] == v.shape[:-1]
    return (
        fit
        and q.shape[-1] == k.shape[-1]
        and halves.name(q.dtype) in _TYPES
        and max(q.shape[-1], v.shape[-1]) <= _WIDEST
        and math.prod(q.shape[:-2]) < _MOST_BLOCKS
        and all(x.size for x in arrays)
    )


def attention(q: Any, k: Any, v: Any, *mask: Any, causal: bool, scale: float) -> Any:
    """softmax(q kᵀ · scale + mask) v of (*, L, E), (*, S, E), (*, S, V) and, if there is one, a mask (*, L, S)."""

    def compute(xp: Any, call: _Attention) -> Any:
        out = xp.empty((*q.shape[:-1], v.shape[-1]), q.dtype)
        call.launch("attention", call.queries, out)
        return out

    return _with_kernels(compute, (q, k, v), (), mask, causal, scale)


def attention_grad(g: Any, q: Any, k: Any, v: Any, *mask: Any, causal: bool, scale: float) -> tuple[Any, ...] | None:
    """The cotangents of q, k and v from that of the result."""

    def compute(xp: Any, call: _Attention) -> tuple[Any, ...]:
        log_sums, slopes = (xp.empty(q.shape[:-1], np.float32) for _ in range(2))
        cotangent = (*_strided(_laid(g), 3), log_sums, slopes)
        gradients = tuple(xp.empty(x.shape, x.dtype) for x in (q, k, v))
        call.launch("attention_rows", call.queries, *cotangent)
        call.launch("attention_grad_q", call.queries, *cotangent, gradients[0])
        call.launch("attention_grad_kv", call.keys, *cotangent, *gradients[1:])
        return gradients

    return _with_kernels(compute, (q, k, v), (g,), mask, causal, scale)


def _with_kernels(
    compute: Callable[[Any, _Attention], _T],
    qkv: tuple[Any, Any, Any],
    others: tuple[Any, ...],
    mask: tuple[Any, ...],
    causal: bool,
    scale: float,
) -> _T | None:
    """What is computed on the arrays' GPU, where there are kernels for them."""
    if not _handled(*qkv, *others, *mask):
        return None
    xp = cupy()
    with gpu(qkv[0].device.id):
        call = _Attention(*qkv, mask, causal, scale)
        return None if call.kernels is None else compute(xp, call)
