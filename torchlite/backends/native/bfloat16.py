"""bfloat16: conversions, and products of matrices with sums in float32, rounded once."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import ml_dtypes
import numpy as np

from torchlite.backends.native.library import Family

Array = np.ndarray[Any, Any]

C = Family(
    "mathematics.h", "vectors.h", "bfloat16.h", "bfloat16.c",
    apart=[("to_bfloat16", "to_float32"), ("relu", "relu_grad"), ("leaky_relu_grad",), ("add",), ("subtract",), ("multiply",),
           ("product",)],
    to_bfloat16="aan", to_float32="aan", relu="aan", product="aaaaa->i", scratch="a->n", has_tiles="->i",
    **dict.fromkeys(("add", "subtract", "multiply", "relu_grad"), "aaan"), leaky_relu_grad="aaanf",
)  # fmt: skip
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
_FLOAT32 = np.dtype(np.float32)
_KINDS = (BFLOAT16, _FLOAT32)


def has_tiles() -> bool:
    """Whether the processor has tile registers, and the system lets this process use them."""
    return C.available("has_tiles") and bool(C.has_tiles())


def cast(x: Array, *, dtype: Any) -> Array | None:
    """Float32 as bfloat16, to the nearest and of two to the even one, or bfloat16 as float32."""
    kind = x.dtype
    if kind == _FLOAT32 and dtype == BFLOAT16:
        convert = C.to_bfloat16
    elif kind == BFLOAT16 and dtype == _FLOAT32:
        convert = C.to_float32
    else:
        return None
    flags = x.flags
    if flags.c_contiguous:
        out = np.empty(x.shape, dtype)
    elif flags.f_contiguous:
        out = np.empty(x.shape, dtype, "F")
    else:
        return None
    convert(x, out, x.size)
    return out


def _order(*arrays: Array) -> Literal["C", "F"] | None:
    """In which order bfloat16 arrays of one shape lie without gaps; None where one lies otherwise."""
    if any(a.dtype != BFLOAT16 or a.shape != arrays[0].shape for a in arrays):
        return None
    if all(a.flags.c_contiguous for a in arrays):
        return "C"
    return "F" if all(a.flags.f_contiguous for a in arrays) else None


def relu(x: Array) -> Array | None:
    """max(x, 0)."""
    order = _order(x)
    if order is None:
        return None
    out = np.empty(x.shape, x.dtype, order)
    C.relu(x, out, x.size)
    return out


def _of_two(name: str) -> Callable[..., Array | None]:
    def run(x: Array, y: Array, **numbers: float) -> Array | None:
        order = _order(x, y)
        if order is None:
            fit = x.dtype == y.dtype == BFLOAT16 and x.shape == y.shape
            if not fit or not (x.flags.c_contiguous or y.flags.c_contiguous):
                return None
            order, x, y = "C", np.ascontiguousarray(x), np.ascontiguousarray(y)  # one of them is expanded, say
        out = np.empty(x.shape, x.dtype, order)
        getattr(C, name)(x, y, out, x.size, *numbers.values())
        return out

    return run


add = _of_two("add")
subtract = _of_two("subtract")
multiply = _of_two("multiply")
relu_grad = _of_two("relu_grad")
leaky_relu_grad = _of_two("leaky_relu_grad")


def leaky_relu(x: Array, *, negative_slope: float) -> Array | None:
    """X above 0, negative_slope · x below."""
    return leaky_relu_grad(x, x, negative_slope=negative_slope)


class _Layout(NamedTuple):
    """What of an array decides how a product goes through it."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    itemsize: int


def steps(array: Array | _Layout, line: int, k: int) -> list[int]:
    """What ``Bf16Operand`` says of an operand (outer, inner, …): whether it is bfloat16, and its steps in numbers."""
    size = array.itemsize
    return [int(size == 2), *(array.strides[d] // size for d in (0, 1, line, k))]


def sizes(x: Array | _Layout, y: Array | _Layout) -> list[int]:
    """Of products of x (outer, inner, rows, k) and y (outer, inner, k, columns): how many, the inner ones, and the lengths."""
    return [x.shape[0] * x.shape[1], x.shape[1], x.shape[2], y.shape[3], x.shape[3]]


def geometry(x: Array | _Layout, y: Array | _Layout, half_out: bool = True) -> Array:
    """What ``Geometry`` holds in C."""
    return np.array([*sizes(x, y), half_out, *steps(x, 2, 3), *steps(y, 3, 2)], np.int64)


@functools.lru_cache(1 << 10)
def _geometry(
    x_shape: tuple[int, ...], x_strides: tuple[int, ...], x_itemsize: int,
    y_shape: tuple[int, ...], y_strides: tuple[int, ...], y_itemsize: int, half_out: bool,
) -> Array:  # fmt: skip
    """`geometry` of two matrices, or of as many in a first dimension of either."""
    x, y = (
        _Layout((*(shape[:-2] or (1,)), 1, *shape[-2:]), (*(strides[:-2] or (0,)), 0, *strides[-2:]), itemsize)
        for shape, strides, itemsize in ((x_shape, x_strides, x_itemsize), (y_shape, y_strides, y_itemsize))
    )
    return geometry(x, y, half_out)


def _product(x: Array, y: Array, bias: Array | None, dtype: Any) -> Array | None:
    """X (rows, k) or (batch, rows, k) times y (k, columns) or (batch, k, columns)."""
    out = np.empty((*x.shape[:-1], y.shape[-1]), dtype)
    described = _geometry(x.shape, x.strides, x.itemsize, y.shape, y.strides, y.itemsize, out.itemsize == 2)
    return out if C.product(x, y, bias, out, described) else None


def _fits(x: Array, y: Array) -> bool:
    return x.dtype in _KINDS and y.dtype in _KINDS and 0 not in x.shape and 0 not in y.shape


def matmul(x: Array, y: Array, dtype: Any = None) -> Array | None:
    """The product over the last two dimensions, the others broadcast.

    Args:
        x, y: of bfloat16 or float32.
        dtype: of the result, by default that of x.
    """
    dtype = x.dtype if dtype is None else dtype
    if not _fits(x, y) or x.ndim < 2 or y.ndim < 2 or x.shape[-1] != y.shape[-2]:
        return None
    if x.ndim == y.ndim == 2:
        return _product(x, y, None, dtype)
    batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    n = math.prod(batch)
    x, y = (np.broadcast_to(a, batch + a.shape[-2:]).reshape(n, *a.shape[-2:]) for a in (x, y))
    result = _product(x, y, None, dtype)
    return None if result is None else result.reshape(*batch, *result.shape[1:])


def linear(x: Array, weight: Array, *bias: Array) -> Array | None:
    """X weightᵀ + bias, rounded once."""
    if not _fits(x, weight) or x.ndim != 2 or x.shape[1] != weight.shape[1]:
        return None
    b = np.ascontiguousarray(bias[0]) if bias else None
    if b is not None and (b.dtype != x.dtype or b.shape != weight.shape[:1]):
        return None
    return _product(x, weight.T, b, x.dtype)
