"""Activations and their gradients, one pass over memory each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from torchlite.backends.native.library import Family

Array = np.ndarray[Any, Any]


C = Family(
    "mathematics.h",
    "vectors.h",
    "gelu.h",
    "elementwise.c",
    apart=[
        *((name, f"{name}_grad") for name in ("sigmoid", "silu", "gelu", "gelu_tanh")),
        *((name,) for name in ("erf_values", "relu_grad", "leaky_relu_grad", "tanh_grad", "choose")),
    ],
    **dict.fromkeys(("erf_values", "sigmoid", "silu", "gelu", "gelu_tanh"), "aan"),
    **dict.fromkeys(("relu_grad", "tanh_grad", "sigmoid_grad", "silu_grad", "gelu_grad", "gelu_tanh_grad"), "aaan"),
    choose="aaaan",
    leaky_relu_grad="aaanf",
)


def _result_like(x: Array) -> Array | None:
    """A new array that lies in memory like ``x``; None where that has gaps or is of another dtype than the kernels'."""
    if x.dtype != np.float32:
        return None
    if x.flags.c_contiguous:
        return np.empty(x.shape, x.dtype)
    return np.empty(x.shape, x.dtype, order="F") if x.flags.f_contiguous else None


def _of_one(name: str) -> Callable[[Array], Array | None]:
    def run(x: Array) -> Array | None:
        out = _result_like(x)
        if out is not None:
            getattr(C, name)(x, out, x.size)
        return out

    return run


def _gradient(name: str) -> Callable[..., Array | None]:
    def run(g: Array, x: Array, **numbers: float) -> Array | None:
        out = _result_like(x)
        if out is None or g.shape != x.shape or g.dtype != x.dtype:
            return None
        g = np.require(g, requirements="C" if x.flags.c_contiguous else "F")
        getattr(C, name)(g, x, out, x.size, *numbers.values())
        return out

    return run


def _by_approximation(exact: Callable[..., Any], by_tanh: Callable[..., Any]) -> Callable[..., Array | None]:
    def run(*arrays: Array, approximate: str) -> Array | None:
        return (exact if approximate == "none" else by_tanh)(*arrays)

    return run


def where(condition: Array, x: Array, y: Array) -> Array | None:
    """X where the condition holds, y elsewhere, of arrays of one shape."""
    out = _result_like(x)
    order = "c_contiguous" if x.flags.c_contiguous else "f_contiguous"
    if out is None or condition.dtype != np.bool_ or y.dtype != x.dtype or not x.shape == y.shape == condition.shape:
        return None
    if not (getattr(condition.flags, order) and getattr(y.flags, order)):
        return None
    C.choose(condition, x, y, out, x.size)
    return out


erf = _of_one("erf_values")
sigmoid = _of_one("sigmoid")
silu = _of_one("silu")
gelu = _by_approximation(_of_one("gelu"), _of_one("gelu_tanh"))
relu_grad = _gradient("relu_grad")
leaky_relu_grad = _gradient("leaky_relu_grad")
sigmoid_grad = _gradient("sigmoid_grad")
tanh_grad = _gradient("tanh_grad")
silu_grad = _gradient("silu_grad")
gelu_grad = _by_approximation(_gradient("gelu_grad"), _gradient("gelu_tanh_grad"))


def leaky_relu(x: Array, *, negative_slope: float) -> Array | None:
    """X above 0, negative_slope · x below."""
    return leaky_relu_grad(x, x, negative_slope=negative_slope)
