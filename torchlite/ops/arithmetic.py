"""Arithmetic of two tensors, and the operators behind ``+ - * / ** // %``."""

from __future__ import annotations

import warnings
from numbers import Number
from typing import Any

import numpy as np

from torchlite import backends, dtypes
from torchlite._tensor import Tensor, method
from torchlite.autocasting import autocasts
from torchlite.backends.native import accelerated
from torchlite.dispatch import apply
from torchlite.ir import FLOAT32_ON_CUDA, Aval, Op, Sample, broadcast_shapes, register
from torchlite.ops.construct import (
    binary,
    common_dtype,
    converted,
    no_slope,
    operands,
    plain,
    refuse_numbers,
    unary,
)
from torchlite.ops.destination import OutDtype, stored
from torchlite.ops.half_precision import HALVES, rounded_once, widened
from torchlite.ops.mutation import inplace

# Add, sub and mul are too hot for silencing NumPy's overflow warnings in each call.
_add = binary(
    "add",
    (lambda g, _out, _x, _y: g, lambda g, _out, _x, _y: g),
    ufunc="add",
    quiet=False,
    scalar="x + y",
    onnx="Add",
    doc="x + y, elementwise with broadcasting.",
)
_sub = binary(
    "sub",
    (lambda g, _out, _x, _y: g, lambda g, _out, _x, _y: -g),
    ufunc="subtract",
    quiet=False,
    scalar="x - y",
    onnx="Sub",
    doc="x - y, elementwise with broadcasting.",
)
mul = binary(
    "mul",
    (lambda g, _out, _x, y: g * y.conj(), lambda g, _out, x, _y: g * x.conj()),
    ufunc="multiply",
    quiet=False,
    scalar="x * y",
    wide_number=True,
    onnx="Mul",
    doc="x · y, elementwise with broadcasting.",
)
_true_div = binary(
    "div",
    (lambda g, _out, _x, y: g / y.conj(), lambda g, out, _x, y: -g * (out / y).conj()),
    ufunc="true_divide",
    to_float=True,
    scalar="x / y",
    wide_number=True,
    onnx="Div",
    domain=(0.5, 2.0),
    doc="x / y, elementwise with broadcasting; integers are divided as floats.",
)
floor_divide = binary(
    "floor_divide",
    (no_slope, no_slope),
    run=widened(lambda xp, x, y: xp.floor_divide(x, divisor(xp, y))),
    wide_number=True,
    domain=(0.6, 0.9),
    doc="⌊x / y⌋, elementwise with broadcasting.",
)
_truncated_quotient = binary(
    "trunc_divide",
    (no_slope, no_slope),
    run=lambda xp, x, y: _truncated(xp, _quotient(xp, x, y)),
    to_float=True,
    methods=False,
    domain=(0.6, 0.9),
    doc="x / y without its fraction, elementwise with broadcasting.",
)


@widened
def _quotient(xp: Any, x: Any, y: Any) -> Any:
    return xp.true_divide(x, y)


@widened
def _truncated(xp: Any, x: Any) -> Any:
    return xp.trunc(x)


_truncated_by_number = rounded_once(_truncated_quotient)
remainder = binary(
    "remainder",
    (lambda g, _out, _x, _y: g, lambda g, _out, x, y: -g * floor_divide(x, y)),
    run=lambda xp, x, y: xp.remainder(x, divisor(xp, y)),
    domain=(0.6, 0.9),
    doc="x - y⌊x / y⌋: the remainder with the sign of the divisor.",
)
_power = binary(
    "pow",
    (
        lambda g, _out, x, y: where(y == 0, 0.0, g * (y * x ** where(y == 0, 1.0, y - 1)).conj()),
        lambda g, out, x, y: _power_by_exponent(g, out, x, y),
    ),
    run=lambda xp, x, y: _run_power(xp, x, y),
    scalar="pow(x, y)",
    onnx="Pow",
    domain=(0.5, 2.0),
    autocast=FLOAT32_ON_CUDA,
    doc="x to the power y, elementwise with broadcasting.",
)
maximum = binary(
    "maximum",
    (
        lambda g, _out, x, y: where(x == y, g * 0.5, where(x < y, 0.0, g)),
        lambda g, _out, x, y: where(x == y, g * 0.5, where(x > y, 0.0, g)),
    ),
    ufunc="maximum",
    scalar="x > y || x != x ? x : y",
    onnx="Max",
    numbers="neither",
    doc="The larger of x and y; NaN where either is. Equal values share the gradient.",
)
minimum = binary(
    "minimum",
    (
        lambda g, _out, x, y: where(x == y, g * 0.5, where(x > y, 0.0, g)),
        lambda g, _out, x, y: where(x == y, g * 0.5, where(x < y, 0.0, g)),
    ),
    ufunc="minimum",
    scalar="x < y || x != x ? x : y",
    onnx="Min",
    numbers="neither",
    doc="The smaller of x and y; NaN where either is. Equal values share the gradient.",
)
neg = unary("neg", lambda g, _out, _x: -g, ufunc="negative", scalar="-x", onnx="Neg", doc="-x.")
reciprocal = unary(
    "reciprocal",
    lambda g, out, _x: -g * (out * out).conj(),
    ufunc="reciprocal",
    to_float=True,
    scalar="1 / x",
    onnx="Reciprocal",
    domain=(0.5, 2.0),
    autocast=FLOAT32_ON_CUDA,
    doc="1 / x.",
)
square = unary(
    "square",
    lambda g, _out, x: g * (x.conj() * 2),
    run=lambda xp, x: xp.multiply(x, x, dtype=_square_dtype(x.dtype)),
    result=lambda dtype: _square_dtype(dtype),
    out_dtype=OutDtype.CAST,
    scalar="x * x",
    autocast=FLOAT32_ON_CUDA,
    doc="x²; of bools as int64.",
)
sqrt = unary(
    "sqrt",
    lambda g, out, _x: g / (out.conj() * 2),
    ufunc="sqrt",
    to_float=True,
    scalar="sqrt(x)",
    onnx="Sqrt",
    domain=(0.5, 2.0),
    doc="√x; NaN for negative x.",
)
rsqrt = unary(
    "rsqrt",
    lambda g, out, _x: g * (out * out * out).conj() * -0.5,
    run=widened(lambda xp, x: xp.reciprocal(xp.sqrt(x))),
    to_float=True,
    scalar="1 / sqrt(x)",
    domain=(0.5, 2.0),
    autocast=FLOAT32_ON_CUDA,
    doc="1 / √x.",
)
sign = unary(
    "sign",
    no_slope,
    run=lambda xp, x: _run_sign(xp, x),
    onnx="Sign",
    domain=(0.2, 2.0),
    doc="-1, 0 or 1 by the sign of x; 0 for NaN.",
)
abs = unary(
    "abs",
    lambda g, _out, x: g * x.sgn(),
    ufunc="abs",
    result=lambda dtype: np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype,
    scalar="fabs(x)",
    onnx="Abs",
    domain=(0.2, 2.0),
    doc="|x|; the gradient at 0 is 0.",
)

choose = accelerated("elementwise.where", least=1 << 13)(backends.where)
"""How `where` runs on arrays."""

_where = register(
    Op(
        "where",
        "elementwise",
        run=choose,
        infer=lambda c, x, y: Aval(broadcast_shapes("where", c.shape, x.shape, y.shape), x.dtype, x.device),
        vjp=(
            None,
            lambda g, _out, condition, _x, _y: where(condition, g, 0.0),
            lambda g, _out, condition, _x, _y: where(condition, 0.0, g),
        ),
        scalar="c ? x : y",
        onnx="Where",
        samples=lambda rng: [
            Sample((rng.random((3, 4)) > 0.5, rng.normal(size=(3, 4)), rng.normal(size=(4,))), {}),
            Sample((rng.random(()) > 0.5, rng.normal(size=(2, 1)), rng.normal(size=())), {}),
        ],
        doc="x where the condition holds, y elsewhere, elementwise with broadcasting.",
    )
)
_clamp = register(
    Op(
        "clamp",
        "elementwise",
        run=widened(lambda xp, x, *, min, max: xp.clip(x, min, max)),
        infer=lambda x, *, min, max: x,  # noqa: ARG005
        vjp=(lambda g, _out, x, min, max: where(_inside(x, min, max), g, 0.0),),
        onnx="Clip",
        samples=lambda rng: [
            Sample((rng.uniform(-2, 2, (3, 5)),), {"min": -1.0, "max": 0.9}),
            Sample((rng.uniform(-2, 2, 5),), {"min": None, "max": 0.5}),
        ],
        doc="x limited to the interval [min, max]; no gradient outside.",
    )
)


@widened
def _run_sign(xp: Any, x: Any) -> Any:
    if x.dtype.kind == "b":
        return x.copy()
    signs = xp.sign(x)
    return signs if x.dtype.kind in "iuc" else xp.where(signs == signs, signs, x.dtype.type(0))


def _square_dtype(dtype: Any) -> Any:
    return np.dtype(np.int64) if dtype.kind == "b" else dtype


def _run_power(xp: Any, x: Any, y: Any) -> Any:
    if x.dtype.kind == "i":  # an integer to a negative power: NumPy raises, PyTorch cuts the fraction off
        negative = y < 0
        if negative.any():
            of_one = xp.where(x == -1, 1 - 2 * (y & 1), x == 1).astype(x.dtype)
            return xp.where(negative, of_one, xp.power(x, xp.where(negative, 0, y))).astype(x.dtype, copy=False)
    return xp.power(x, y).astype(x.dtype, copy=False)  # NumPy makes int8 of bools


def _power_by_exponent(g: Tensor, out: Tensor, x: Tensor, y: Tensor) -> Tensor:
    if x.ndim == 0 and x._data.dtype in HALVES:  # as of any number, the logarithm is not rounded
        return g * where((x == 0) & (y >= 0), 0.0, out * x.to(dtypes.float32).log())
    return g * (out * where((x == 0) & (y >= 0), 1.0, x).log()).conj()


def divisor(xp: Any, y: Any) -> Any:
    """``y``, unless it is an integer 0: those have no infinity to give."""
    if xp is np and y.dtype.kind in "iu" and not y.all():
        raise RuntimeError("ZeroDivisionError: integer division by zero")
    return y


def _inside(x: Tensor, min: float | None, max: float | None) -> Tensor:
    if min is None:
        return x <= max
    return x >= min if max is None else (x >= min) & (x <= max)


def where(condition: Tensor, input: Any = None, other: Any = None, *, out: Tensor | None = None) -> Any:
    """``input`` where ``condition`` holds and ``other`` elsewhere, elementwise with broadcasting.

    With ``condition`` alone it is ``nonzero(condition, as_tuple=True)``.

    Args:
        condition: a bool tensor.
        input, other: tensors or numbers.
    """
    if out is not None:
        return stored("where", where, (condition, input, other), {}, out, OutDtype.SAME)
    if input is None and other is None:
        return condition.nonzero(as_tuple=True)
    if condition._data.dtype == np.uint8:
        warnings.warn("where: a condition of dtype uint8 is deprecated, use a bool tensor", UserWarning, stacklevel=2)
        condition = condition.to(dtypes.bool_)
    if condition._data.dtype.kind != "b":
        raise RuntimeError(
            f"where expected condition to be a boolean tensor, but got a tensor with dtype {condition.dtype}"
        )
    if any(isinstance(v, Tensor) and v.ndim > 0 for v in (input, other)):
        input, other = operands("where", input, other)
    else:
        dtype, device = common_dtype((input, other)), condition.device
        input, other = converted(input, dtype, device), converted(other, dtype, device)
    return apply(_where, (condition, input, other))


@method("clamp", "clip")
def clamp(input: Tensor, min: Any = None, max: Any = None, *, out: Tensor | None = None) -> Tensor:
    """``input`` limited to [min, max]; either bound may be missing, a number or a tensor."""
    if out is not None:
        tensors = isinstance(min, Tensor) or isinstance(max, Tensor)
        return stored("clamp", clamp, (input, min, max), {}, out, OutDtype.CAST if tensors else OutDtype.SAME)
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    if isinstance(min, Tensor) or isinstance(max, Tensor):
        if not all(v is None or isinstance(v, Tensor) for v in (min, max)):
            raise TypeError("clamp(): min and max must both be tensors or both be numbers")
        raised = input if min is None else _limited(maximum, input, min)
        return raised if max is None else _limited(minimum, raised, max)
    min, max = (b if b is None else plain(b) for b in (min, max))
    bounds = [b for b in (min, max) if b is not None]
    dtype = common_dtype((input, *bounds))
    return apply(_clamp, (input.to(dtype),), {"min": min, "max": max})


def _limited(extreme: Any, input: Tensor, limit: Tensor) -> Tensor:
    """The larger or smaller of two; unlike there, the whole gradient is the input's where they are equal."""
    if not (input.requires_grad or limit.requires_grad):
        result: Tensor = extreme(input, limit)
        return result
    beyond = input < limit if extreme is maximum else input > limit
    return where(beyond | limit.isnan(), limit, input)


method("clamp_", "clip_")(inplace(clamp))


@method()
def clamp_min(input: Tensor, min: Any, *, out: Tensor | None = None) -> Tensor:
    """``input``, but at least ``min``."""
    return clamp(input, min=min, out=out)


@method()
def clamp_max(input: Tensor, max: Any, *, out: Tensor | None = None) -> Tensor:
    """``input``, but at most ``max``."""
    return clamp(input, max=max, out=out)


method("clamp_min_")(inplace(clamp_min))
method("clamp_max_")(inplace(clamp_max))


# The functions from here to `pow` are hot: they name ``out`` themselves, where `takes_out` would cost a call.
def add(input: Any, other: Any, *, alpha: float = 1, out: Tensor | None = None) -> Tensor:
    """``input + alpha · other``."""
    if out is not None:
        return stored("add", add, (input, other), {"alpha": alpha}, out)
    return _add(input, other) if alpha == 1 else _with_scaled(_add, input, other, alpha)


def sub(input: Any, other: Any, *, alpha: float = 1, out: Tensor | None = None) -> Tensor:
    """``input - alpha · other``."""
    if out is not None:
        return stored("sub", sub, (input, other), {"alpha": alpha}, out)
    return _sub(input, other) if alpha == 1 else _with_scaled(_sub, input, other, alpha)


def _with_scaled(combine: Any, input: Any, other: Any, alpha: Any) -> Tensor:
    """``combine(input, alpha · other)``; of half types, to which PyTorch rounds ``alpha``, rounded once."""
    x, y = operands(combine.__name__, input, other)
    if x._data.dtype not in HALVES:
        plain: Tensor = combine(input, _scaled(combine.__name__, input, other, alpha))
        return plain
    wide = dtypes.float32
    factor = converted(alpha, x.dtype, x.device).to(wide)
    rounded: Tensor = combine(x.to(wide), y.to(wide) * factor).to(x.dtype)
    return rounded


def _scaled(name: str, input: Any, other: Any, alpha: Any) -> Any:
    """``alpha · other`` of the dtype of both operands, of which ``alpha`` is no number of a higher kind."""
    common = common_dtype((input, other))
    if isinstance(alpha, float | complex) and dtypes.category(common) < 2:
        raise RuntimeError(
            f"{name}(): For integral input tensors, argument alpha must not be a floating point number, got {alpha}"
        )
    return (other.to(common) if isinstance(other, Tensor) else other) * alpha


def div(input: Any, other: Any, *, rounding_mode: str | None = None, out: Tensor | None = None) -> Tensor:
    """``input / other``; ``rounding_mode`` "floor" or "trunc" rounds the quotient and keeps integers integers."""
    if out is not None:
        return stored("div", div, (input, other), {"rounding_mode": rounding_mode}, out)
    if rounding_mode is None:
        return _true_div(input, other)
    if rounding_mode == "floor":
        return floor_divide(input, other)
    if rounding_mode != "trunc":
        raise RuntimeError(
            f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{rounding_mode}'"
        )
    dtype = common_dtype((input, other))
    if dtypes.category(dtype) < 2:
        floored = floor_divide(input, other)
        return floored + ((floored < 0) & (floored * other != input)).to(dtype)
    number = isinstance(other, Number) or (isinstance(other, Tensor) and not other.ndim)
    return _truncated_by_number(input, other) if number else _truncated_quotient(input, other)


def pow(input: Any, exponent: Any, *, out: Tensor | None = None) -> Tensor:
    """``input`` to the power ``exponent``."""
    if out is not None:
        return stored("pow", pow, (input, exponent), {}, out)
    if isinstance(input, Tensor) and type(exponent) in (int, float):
        if exponent == 2 and (type(exponent) is int or input._data.dtype.kind not in "biu"):
            return square(input)
        if exponent == 0.5 and input.is_floating_point():
            return sqrt(input)
        if exponent < 0 and type(exponent) is int and not input.is_floating_point() and not input.is_complex():
            raise RuntimeError("Integers to negative integer powers are not allowed.")
    return _power(input, exponent)


_add_ = Tensor.add_
_sub_ = Tensor.sub_
_true_div_ = Tensor.div_
_div_by_mode, _add_half_, _sub_half_ = inplace(div), inplace(add), inplace(sub)


@method("add_")
def add_(self: Tensor, other: Any, *, alpha: float = 1) -> Tensor:
    """In-place ``self + alpha · other``."""
    if alpha != 1 and self._data.dtype in HALVES:
        return _add_half_(self, other, alpha=alpha)
    return _add_(self, other if alpha == 1 else _scaled("add_", self, other, alpha))


@method("sub_", "subtract_")
def sub_(self: Tensor, other: Any, *, alpha: float = 1) -> Tensor:
    """In-place ``self - alpha · other``."""
    if alpha != 1 and self._data.dtype in HALVES:
        return _sub_half_(self, other, alpha=alpha)
    return _sub_(self, other if alpha == 1 else _scaled("sub_", self, other, alpha))


@method("div_", "divide_")
def div_(self: Tensor, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """In-place ``self / other``, rounded as in `div`."""
    return _true_div_(self, other) if rounding_mode is None else _div_by_mode(self, other, rounding_mode=rounding_mode)


def rsub(input: Tensor, other: Any, *, alpha: float = 1) -> Tensor:
    """``other - alpha · input``."""
    refuse_numbers("rsub", input)
    return sub(other, input, alpha=alpha)


_methods: dict[str, Any] = {"add": add, "sub": sub, "div": div, "true_divide": _true_div, "pow": pow}
for _name, _function in _methods.items():
    method(_name)(_function)
method("true_divide_")(_true_div_)


method("where")(lambda self, condition, other: where(condition, self, other))


def reflected(function: Any) -> Any:
    """``function`` as the operator that Python calls on its second operand."""
    return lambda self, other: function(other, self)


for _symbol, _function in {
    "add": _add,
    "sub": _sub,
    "mul": mul,
    "floordiv": floor_divide,
    "mod": remainder,
    "pow": pow,
}.items():
    method(f"__{_symbol}__")(_function)
    method(f"__r{_symbol}__")(reflected(_function) if _function is not mul else mul)


@autocasts(FLOAT32_ON_CUDA)  # PyTorch's way, which autocasting shows
def _times_reciprocal(self: Tensor, other: Any) -> Tensor:
    """``other / self``; PyTorch multiplies by the reciprocal, which shows where that is rounded to a half type."""
    return reciprocal(self) * other if self._data.dtype in HALVES else _true_div(other, self)


method("__rtruediv__")(_times_reciprocal)
method("__truediv__")(_true_div)
method("__iadd__")(_add_)
method("__isub__")(_sub_)
method("__imul__")(Tensor.mul_)
method("__div__")(_true_div)  # Python 2's name, which PyTorch keeps
method("__rdiv__")(_times_reciprocal)
method("__idiv__", "__itruediv__")(_true_div_)
method("__ifloordiv__")(Tensor.floor_divide_)
method("__imod__")(Tensor.remainder_)
method("__ipow__")(Tensor.pow_)
method("__neg__")(neg)
method("__pos__")(lambda self: self)
method("__abs__")(abs)
multiply, divide, subtract, true_divide = mul, div, sub, _true_div
method("multiply")(mul)
method("multiply_")(Tensor.mul_)
method("divide")(div)
method("subtract")(sub)
