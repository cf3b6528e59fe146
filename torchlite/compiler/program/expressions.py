"""Elementwise operations as C expressions, with the types of C that dtypes become."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
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

_FLOATS = {
    "add", "sub", "mul", "div", "neg", "square", "sqrt", "rsqrt", "reciprocal", "abs", "maximum", "minimum", "fmax", "fmin",
    "relu", "exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "sin", "cos", "tan", "tanh", "sigmoid", "erf", "erfc",
    "floor", "ceil", "trunc", "round", "frac", "pow", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh",
    "atan2", "hypot", "copysign",
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
_COMPARISONS = {"eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_xor", "logical_not"}
_BOOLEANS = {"bitwise_and", "bitwise_or", "bitwise_xor"}
# What gives numbers of the type that it was given; other results of bfloat16 are rounded.
_EXACT = {"view", "clone", "expand", "where", "neg", "abs", "maximum", "minimum", "relu", "relu_grad"}

# Operators whose record has no expression, because they take parameters or read a result.
_BY_NAME = {
    "affine": "x * y + z",
    "relu_grad": "y <= 0 ? 0 : x",
    "sigmoid_grad": "x * (y * (1 - y))",
    "tanh_grad": "x * (1 - y * y)",
}
_FLOAT32_BY_NAME = {
    ("gelu", "none"): "x * normal_cdf_(x)",
    ("gelu", "tanh"): "0.5f * x * (1 + gelu_tanh_(x))",
    ("gelu_grad", "none"): "x * gelu_slope_(y)",
    ("gelu_grad", "tanh"): "x * gelu_tanh_slope_(y)",
    ("silu", None): "x * sigmoid_(x)",
    ("silu_grad", None): "x * silu_slope_(y)",
}
_VECTORIZED = re.compile(r"\b(exp|tanh|erf)\(")


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
    if any(c_type(v) is None for v in (*node.inputs, *node.outputs)):
        return None
    template = _template(node)
    if template is None:
        return None
    if c_type(node.outputs[0]) == "bfloat16" and node.op.name not in _EXACT:
        template = f"bf16_rounded({template})"
    letters = ("c", "x", "y") if node.op.name == "where" else ("x", "y", "z")
    pattern = re.compile(r"\b[" + "".join(letters) + r"]\b")
    count = len(node.inputs)

    def of(names: Sequence[str]) -> str:
        given = dict(zip(letters[:count], names, strict=True))
        return pattern.sub(lambda found: given[found[0]], template)

    return of


def _template(node: Node) -> str | None:
    name, out = node.op.name, _dtype(node.outputs[0])
    inputs = [_dtype(v) for v in node.inputs]
    if name in ("view", "clone", "expand"):
        return "x"
    if name == "cast":
        return _conversion(inputs[0], out)
    if name == "where":
        fits = inputs[0].kind == "b" and inputs[1:] == [out, out]
        return node.op.scalar if fits else None
    if name in _COMPARISONS:
        return node.op.scalar if len(set(inputs)) == 1 and out.kind == "b" else None
    if any(dtype != out for dtype in inputs):
        return None
    if out.kind == "f":
        return _on_floats(node, out)
    if out.kind == "b":
        return "!x" if name == "bitwise_not" else node.op.scalar if name in _BOOLEANS else None
    if name not in _INTEGERS or node.op.scalar is None:
        return None
    unsigned = "unsigned long" if out.itemsize == 8 else "unsigned"  # in which overflow is defined
    wraps = name in ("add", "sub", "mul", "neg")
    return re.sub(r"\b([xy])\b", rf"({unsigned})\1", node.op.scalar) if wraps else node.op.scalar


def _on_floats(node: Node, dtype: np.dtype[Any]) -> str | None:
    name, params = node.op.name, node.params
    if name == "clamp":
        return _clamped(params["min"], params["max"], dtype)
    if name in _BY_NAME:
        return _BY_NAME[name]
    if dtype.itemsize == 4 and (name, params.get("approximate")) in _FLOAT32_BY_NAME:
        return _FLOAT32_BY_NAME[name, params.get("approximate")]
    if name not in _FLOATS or node.op.scalar is None:
        return None
    if dtype.itemsize == 4:
        return "sigmoid_(x)" if name == "sigmoid" else _VECTORIZED.sub(r"\1_(", node.op.scalar)
    return node.op.scalar


def _clamped(least: Any, most: Any, dtype: np.dtype[Any]) -> str | None:
    if any(type(limit) not in (int, float, type(None)) for limit in (least, most)):
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


def _dtype(v: Value) -> np.dtype[Any]:
    """What it is computed in."""
    assert v.aval is not None
    dtype: np.dtype[Any] = np.dtype(np.float32 if c_type(v) == "bfloat16" else v.aval.dtype)
    return dtype
