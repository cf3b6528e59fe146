"""Composites: tensor functions written with the primitive operators, which inherit everything from them."""

from __future__ import annotations

import math
from typing import Any

from torchlite import backends, dtypes
from torchlite._tensor import Tensor, method
from torchlite.autocasting import autocasts
from torchlite.dispatch import apply
from torchlite.integers import takes_integers
from torchlite.ir import Autocast, Aval, Op, Sample, broadcast_shapes, register
from torchlite.ops.arithmetic import choose, where
from torchlite.ops.construct import converted, dims_of
from torchlite.ops.destination import OutDtype, takes_out, takes_out_as
from torchlite.ops.half_precision import HALVES, rounded_once, widened
from torchlite.ops.mutation import inplace
from torchlite.ops.reduction import mean


@takes_out
@method()
@autocasts(Autocast(cuda="widest"))
@rounded_once
def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """Input + value · tensor1 · tensor2."""
    return input + tensor1 * value * tensor2


@takes_out
@method()
@autocasts(Autocast(cuda="widest"))
@rounded_once
def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """Input + value · tensor1 / tensor2."""
    return input + tensor1 * value / tensor2


def _run_between(xp: Any, x: Any, y: Any, weight: Any) -> Any:
    far = abs(weight) >= 0.5  # from y, by the rest of the way
    out = (y - x) * choose(xp, far, weight - 1, weight)
    out += choose(xp, far, y, x)
    return out


_between = register(
    Op(
        "lerp",
        "elementwise",
        run=widened(_run_between),
        infer=lambda x, y, w: Aval(broadcast_shapes("lerp", x.shape, y.shape, w.shape), x.dtype, x.device),
        vjp=(
            lambda g, _out, _x, _y, w: g * (1 - w),
            lambda g, _out, _x, _y, w: g * w,
            lambda g, _out, x, y, _w: g * (y - x),
        ),
        samples=lambda rng: [
            Sample((rng.normal(size=(3, 4)), rng.normal(size=(3, 4)), rng.uniform(size=(3, 4))), {}),
            Sample((rng.normal(size=(2, 1)), rng.normal(size=3), rng.uniform(-1, 2, ())), {}),
        ],
        doc="x + weight (y - x), from the nearer of the two.",
    )
)


@takes_out
@method()
def lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """Input + weight · (end - input)."""
    return (_rounded_lerp if input._data.dtype in HALVES else _lerp)(input, end, weight)


def _lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """From the nearer of the two, as PyTorch does: with weight 1 nothing is left of the other."""
    if type(weight) in (int, float):
        return input + (end - input) * weight if -0.5 < weight < 0.5 else end - (end - input) * (1 - weight)
    weight = converted(weight, input.dtype, input.device)
    if input.is_complex():
        way = end - input
        return where(weight.abs() < 0.5, input + way * weight, end - way * (1 - weight))
    result: Tensor = apply(_between, (input, end, weight))
    return result


_rounded_lerp = rounded_once(_lerp)


method("addcmul_")(inplace(addcmul))
method("addcdiv_")(inplace(addcdiv))
method("lerp_")(inplace(lerp))


@takes_out
@method()
@autocasts(Autocast(cuda="as given"))
@rounded_once
@takes_integers
def var(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """Σ |x - μ|² / (n - correction) over ``dim``; NaN where n - correction is 0.

    Args:
        input: the tensor.
        dim: an int, several, or None for all; as in PyTorch ``var(x, False)`` means ``unbiased``.
        unbiased: the correction as a truth value.
        keepdim: whether reduced dimensions stay with length 1.
        correction: 1 by default.

    Raises:
        RuntimeError: for an integer or bool tensor.
    """
    if input._data.dtype.kind in "biu":
        raise RuntimeError(f"std and var only support floating point and complex dtypes, got {input.dtype}")
    dim, correction = correction_of(dim, unbiased, correction)
    dims = dims_of("var", dim, input.ndim)
    n = math.prod(input.shape[d] for d in dims)
    centred = input - mean(input, dims, True)
    squares = (centred * centred.conj()).real if input.is_complex() else centred.square()
    return squares.sum(dims, keepdim) / max(n - correction, 0)


@takes_out
@method()
@autocasts(Autocast(cuda="as given"))
@rounded_once
def std(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """The square root of `var`."""
    return _root(var(input, dim, unbiased, keepdim, correction=correction), 2)


def correction_of(dim: Any, unbiased: bool | None, correction: float | None) -> tuple[Any, float]:
    """The dimensions and the correction that PyTorch's overloads of var and std mean."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if unbiased is not None:
        return dim, int(unbiased)
    return dim, 1 if correction is None else correction


def _root(x: Tensor, p: float) -> Tensor:
    """x^(1/p) whose gradient at 0 is 0, as PyTorch's norms have it, and not infinite."""
    zero = x == 0
    inner = where(zero, 1.0, x)
    return where(zero, 0.0, inner.sqrt() if p == 2 else inner ** (1 / p))


@method()
def isclose(input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """|input - other| ≤ atol + rtol · |other|, elementwise; infinities are close to themselves only.

    Raises:
        RuntimeError: for two dtypes, and for a negative tolerance.
    """
    if input.dtype is not other.dtype:
        raise RuntimeError(f"isclose: {input.dtype} did not match {other.dtype}")
    for name, tolerance in (("rtol", rtol), ("atol", atol)):
        if tolerance < 0:
            raise RuntimeError(f"isclose: {name} must be greater than or equal to zero, but got {tolerance}")
    close: Tensor = input == other
    if input._data.dtype.kind in "biu":
        input, other = (x.to(dtypes.float64) for x in (input, other))
    elif equal_nan:
        close = close | (input.isnan() & other.isnan())
    distance = (input - other).abs()
    return close | ((distance <= (other * rtol).abs() + atol) & distance.isfinite())


@method()
def allclose(input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether every element `isclose` to its counterpart."""
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


@method()
def equal(input: Tensor, other: Tensor) -> bool:
    """Whether shapes and all elements are equal."""
    return input.shape == other.shape and bool((input == other).all())


@takes_out_as(OutDtype.SAME)
@method()
def nonzero(input: Tensor, as_tuple: bool = False) -> Any:
    """The positions of the elements that are not 0, one a row; or one vector of positions for each dimension."""
    from torchlite._tensor import wrap

    xp = backends.array_module(input._data)
    positions = (
        [wrap(p) for p in xp.nonzero(input._data)] if input.ndim else [wrap(xp.nonzero(input._data.reshape(1))[0])]
    )
    if as_tuple:
        return tuple(positions)
    if not input.ndim:
        return positions[0].reshape(-1, 1)[:, :0]
    from torchlite.ops.joining import stack

    return stack(positions, 1)


@takes_out_as(OutDtype.SAME)
@method()
@takes_integers
def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """The first ``size`` positions of `nonzero`, and ``fill_value`` where there are fewer."""
    found: Tensor = nonzero(input)[:size]
    rest = found.new_full((size - found.shape[0], input.ndim), fill_value)
    from torchlite.ops.joining import cat

    return cat([found, rest], 0)
