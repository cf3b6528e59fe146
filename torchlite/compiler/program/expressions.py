"""Elementwise operations as C expressions, with the types of C that dtypes become."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from torchlite.compiler.graph import Node, Value

Expression = Callable[[Sequence[str]], str]

C_TYPES = {
    np.dtype(dtype): name
    for dtype, name in {
        "float32": "float", "float64": "double", "bool": "unsigned char", "uint8": "unsigned char",
        "int8": "signed char", "int16": "short", "int32": "int", "int64": "long", ml_dtypes.bfloat16: "bfloat16",
    }.items()
}  # fmt: skip

_FLOAT32 = np.dtype(np.float32)
# With names of parameters in capitals, which are numbers.
_WITH_NUMBERS = {
    "leaky_relu": "x > 0 ? x : x * NEGATIVE_SLOPE",
    "leaky_relu_grad": "y > 0 ? x : x * NEGATIVE_SLOPE",
    "elu": "x > 0 ? x * SCALE : expm1(x * SLOPE) * (ALPHA * SCALE)",
    "elu_grad": "x * (y > 0 ? SCALE : exp(y * SLOPE) * (ALPHA * SCALE * SLOPE))",
}
_FLOATS = {
    "add", "sub", "mul", "div", "neg", "square", "sqrt", "rsqrt", "reciprocal", "abs", "maximum", "minimum", "fmax", "fmin",
    "relu", "exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "sin", "cos", "tan", "tanh", "sigmoid", "erf", "erfc",
    "floor", "ceil", "trunc", "round", "frac", "pow", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh",
    "atan2", "hypot", "copysign", "clamp", *_WITH_NUMBERS,
}  # fmt: skip
_INTEGERS = {
    "add",
    "sub",
    "mul",
    "neg",
    "maximum",
    "minimum",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "bitwise_not",
}
_ANSWERS = {
    "eq", "ne", "lt", "le", "gt", "ge", "isnan", "isinf", "isfinite", "logical_and", "logical_or", "logical_xor", "logical_not",
}  # fmt: skip
_BOOLEANS = {"bitwise_and", "bitwise_or", "bitwise_xor"}
# What gives numbers of the type that it was given; other results of bfloat16 are rounded.
_EXACT = {"view", "clone", "expand", "where", "neg", "abs", "maximum", "minimum", "relu", "relu_grad"}

# Operators whose record has no expression, because they take parameters or read a result.
_BY_NAME = {
    "affine": "x * y + z",
    "relu_grad": "y <= 0 ? 0 : x",
    "sigmoid_grad": "x * (y * (1 - y))",
    "tanh_grad": "x * (1 - y * y)",
    "gate_grad": "(1 - y) * y * z * x",
    "lerp": "z > -0.5f && z < 0.5f ? x + (y - x) * z : y - (y - x) * (1 - z)",
}
_FLOAT32_BY_NAME = {
    ("gelu", "none"): "x * normal_cdf_(x)",
    ("gelu", "tanh"): "0.5f * x * (1 + gelu_tanh_(x))",
    ("gelu_grad", "none"): "x * gelu_slope_(y)",
    ("gelu_grad", "tanh"): "x * gelu_tanh_slope_(y)",
    ("gated", None): "x * sigmoid_(y)",
    ("silu", None): "x * sigmoid_(x)",
    ("silu_grad", None): "x * silu_slope_(y)",
}
_VECTORIZED = re.compile(r"\b(exp|expm1|tanh|erf)\(")


def c_type(v: Value) -> str | None:
    """The type of an element of a value in C; None where it has none, or the value is a Python number."""
    return None if v.aval is None else C_TYPES.get(v.aval.dtype)


def number_type(v: Value) -> str | None:
    """The type in C that an element is computed in, which for bfloat16 is not the one that it is stored in."""
    stored = c_type(v)
    return "float" if stored == "bfloat16" else stored


def read(kind: str, name: str, element: str) -> str:
    """The declaration of a name for an element of type ``kind`` in memory."""
    return f"float {name} = bf16_wide({element});" if kind == "bfloat16" else f"{kind} {name} = {element};"


def written(kind: str, number: str) -> str:
    """An element, which is rounded to its type, as what is stored as ``kind``."""
    return f"bf16_same({number})" if kind == "bfloat16" else number


def rounded(kind: str, number: str) -> str:
    """A number, which may have more digits, as what is stored as ``kind``."""
    return f"bf16_of({number})" if kind == "bfloat16" else number


def expression(node: Node) -> Expression | None:
    """The operation on one element, as a function of the names of its inputs; None where C has no such operation."""
    if node.several or node.lifted or len(node.outputs) != 1:
        return None
    dtypes = [v.aval.dtype for v in (*node.outputs, *node.inputs) if v.aval is not None]
    if len(dtypes) <= len(node.inputs):
        return None
    name, scalar = node.op.name, node.op.scalar
    if name == "clamp":
        scalar = _clamped(node.params["min"], node.params["max"], dtypes[0])
    elif name in _WITH_NUMBERS:
        scalar = _with_numbers(_WITH_NUMBERS[name], node.params, dtypes[0])
    template = _template(name, scalar, node.params.get("approximate"), *dtypes)
    return None if template is None else lambda names: template.format(*names)


@functools.lru_cache(4096)
def _template(name: str, scalar: str | None, approximate: str | None, out: Any, *inputs: Any) -> str | None:
    """The expression of an operator for these dtypes, with {0}, {1}, … in the place of its inputs."""
    if any(dtype not in C_TYPES for dtype in (out, *inputs)):
        return None
    text = _in_letters(name, scalar, approximate, _computed_in(out), [_computed_in(dtype) for dtype in inputs])
    if text is None:
        return None
    letters = "cxy" if name == "where" else "xyz"
    text = re.sub(rf"\b[{letters}]\b", lambda found: f"{{{letters.index(found[0])}}}", text)
    return f"bf16_rounded({text})" if C_TYPES[out] == "bfloat16" and name not in _EXACT else text


def _in_letters(
    name: str, scalar: str | None, approximate: str | None, out: np.dtype[Any], inputs: list[np.dtype[Any]]
) -> str | None:
    if name in ("view", "clone", "expand"):
        return "x"
    if name == "cast":
        return _conversion(inputs[0], out)
    if name == "where":
        fits = inputs[0].kind == "b" and inputs[1:] == [out, out]
        return scalar if fits else None
    if name in _ANSWERS:
        return scalar if len(set(inputs)) == 1 and out.kind == "b" else None
    if any(dtype != out for dtype in inputs):
        return None
    if out.kind == "f":
        return _on_floats(name, scalar, approximate, out)
    if out.kind == "b":
        return "!x" if name == "bitwise_not" else scalar if name in _BOOLEANS else None
    if name not in _INTEGERS or scalar is None:
        return None
    unsigned = "unsigned long" if out.itemsize == 8 else "unsigned"  # in which overflow is defined
    wraps = name in ("add", "sub", "mul", "neg")
    return re.sub(r"\b([xy])\b", rf"({unsigned})\1", scalar) if wraps else scalar


def _on_floats(name: str, scalar: str | None, approximate: str | None, dtype: np.dtype[Any]) -> str | None:
    if name in _BY_NAME:
        return _BY_NAME[name]
    if dtype.itemsize == 4 and (name, approximate) in _FLOAT32_BY_NAME:
        return _FLOAT32_BY_NAME[name, approximate]
    if name not in _FLOATS or scalar is None:
        return None
    if dtype.itemsize == 4:
        return "sigmoid_(x)" if name == "sigmoid" else _VECTORIZED.sub(r"\1_(", scalar)
    return scalar


def _with_numbers(text: str, params: Mapping[str, Any], dtype: np.dtype[Any]) -> str:
    return re.sub(r"\b[A-Z_]{2,}\b", lambda name: literal(params[name[0].lower()], dtype), text)


def _clamped(least: Any, most: Any, dtype: np.dtype[Any]) -> str | None:
    types = (int, float, type(None))
    if dtype.kind in "biu" or type(least) not in types or type(most) not in types:
        return None
    text = "x"
    if most is not None:
        text = f"x > {literal(most, dtype)} ? {literal(most, dtype)} : {text}"
    if least is not None:
        text = f"x < {literal(least, dtype)} ? {literal(least, dtype)} : {text}"
    return None if least is not None and most is not None and not least <= most else text


def _conversion(given: np.dtype[Any], wanted: np.dtype[Any]) -> str | None:
    if wanted.kind == "b":
        return "x != 0"
    if given.kind == "f" and wanted.kind != "f":
        return None  # what C leaves undefined out of range, NumPy does in ways of its own
    return f"({C_TYPES[wanted]})x"


def literal(number: Any, dtype: np.dtype[Any]) -> str:
    """A number as a constant in C."""
    if dtype.kind == "b":
        return str(int(number))
    if dtype.kind in "iu":
        return f"({int(number)}L)" if int(number) != -(1 << 63) else "(-9223372036854775807L - 1)"
    value = (np.float32 if dtype.itemsize == 2 else dtype.type)(number)
    if not np.isfinite(value):
        return "NAN" if value != value else "INFINITY" if value > 0 else "(-INFINITY)"
    return f"({float(value).hex()}{'f' if dtype.itemsize <= 4 else ''})"


def _computed_in(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype that elements of this one are computed in."""
    return _FLOAT32 if C_TYPES[dtype] == "bfloat16" else dtype
