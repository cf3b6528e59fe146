"""The p-norms of vectors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from torchlite import backends
from torchlite._tensor import Tensor
from torchlite.dispatch import apply
from torchlite.ir import Aval, Op, Sample, register
from torchlite.ops.arithmetic import where
from torchlite.ops.construct import dims_of
from torchlite.ops.half_precision import rounded_once
from torchlite.ops.inversion import real_dtype
from torchlite.ops.reduction import reduced, restored


def _run(xp: Any, x: Any, *, p: float, dims: tuple[int, ...], keepdim: bool) -> Any:
    dtype = real_dtype(x.dtype)
    if dtype.itemsize == 2:  # accumulate wider than the type itself
        x = x.astype(np.float32)
    if p == 2:
        parts = (x,) if x.dtype.kind != "c" else (x.real, x.imag)
        total = sum(backends.inner(xp, part, part, dims) for part in parts)
        result = xp.sqrt(total)
    elif p == 0:
        result = (x != 0).sum(axis=dims, keepdims=True)
    elif math.isinf(p):
        sizes = xp.abs(x)
        result = sizes.max(axis=dims, keepdims=True) if p > 0 else sizes.min(axis=dims, keepdims=True)
    else:
        sizes = xp.abs(x)
        total = (sizes if p == 1 else sizes**p).sum(axis=dims, keepdims=True)
        result = total if p == 1 else total ** (1 / p)
    return result.reshape(reduced(x.shape, dims, keepdim)).astype(dtype, copy=False)


def _slope(g: Tensor, out: Tensor, x: Tensor, p: float, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    """0 where the norm is: PyTorch's choice among the subgradients."""
    if p == 0:
        return x.new_zeros(x.shape)
    g, out = restored(g, x, dims, keepdim), restored(out, x, dims, keepdim)
    if p == 1:
        return x.sgn() * g
    if math.isinf(p):
        chosen = x.abs() == out
        return x.sgn() * (g * chosen / chosen.sum(dims, True))
    if p != 2:
        return _slope_of_power(g, out, x, p)
    zero = out == 0
    return x / where(zero, 1.0, out) * where(zero, 0.0, g)


@rounded_once
def _slope_of_power(g: Tensor, out: Tensor, x: Tensor, p: float) -> Tensor:
    zero, nothing = out == 0, x == 0
    sizes = where(nothing, 1.0, (x / where(zero, 1.0, out)).abs())
    return x.sgn() * where(nothing, 0.0, sizes ** (p - 1)) * where(zero, 0.0, g)


def _samples(rng: np.random.Generator) -> list[Sample]:
    x = rng.normal(size=(3, 4)) + 0.3
    orders = (2.0, 1.0, 3.0, 0.5, -1.0, 0.0, math.inf, -math.inf)
    return [
        *(Sample((x,), {"p": p, "dims": (1,), "keepdim": False}) for p in orders),
        Sample((rng.normal(size=(2, 3, 4)),), {"p": 2.0, "dims": (0, 2), "keepdim": True}),
        Sample((rng.normal(size=(3, 2)) + 1j,), {"p": 2.0, "dims": (0,), "keepdim": False}),
        Sample((rng.normal(size=(3, 2)) + 1j,), {"p": 3.0, "dims": (0,), "keepdim": False}),
    ]


_vector_norm: Op = register(
    Op(
        "vector_norm",
        "reduce",
        run=_run,
        infer=lambda x, *, p, dims, keepdim: Aval(  # noqa: ARG005
            reduced(x.shape, dims, keepdim), real_dtype(x.dtype), x.device
        ),
        vjp=(_slope,),
        samples=_samples,
        doc="(Σ |x|ᵖ)^(1/p) over the dimensions, of which p = 0 and ±inf are limits.",
    )
)


def vector_norm_of(name: str, x: Tensor, p: float, dim: Any, keepdim: bool) -> Tensor:
    """The p-norm over ``dim`` (all where None or empty); ``name`` is for errors.

    Raises:
        RuntimeError: where p is below 0 or inf, and there is no element to choose from.
    """
    dims = dims_of(name, dim, x.ndim)
    if (p < 0 or p == math.inf) and 0 in [x.shape[d] for d in dims]:
        raise RuntimeError(
            f"{name} cannot compute the {p:g} norm over dimensions {list(dims)} of shape {list(x.shape)}: one is empty, and "
            "the operation does not have an identity"
        )
    return apply(_vector_norm, (x,), {"p": p, "dims": dims, "keepdim": keepdim})
