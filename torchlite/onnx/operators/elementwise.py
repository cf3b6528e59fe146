"""Operators on each element: arithmetic, comparisons and activations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from torchlite.compiler.graph import Node, Value
from torchlite.onnx.writer import Rule, Writer

_SAME = (
    *(
        "abs",
        "acos",
        "acosh",
        "asin",
        "asinh",
        "atan",
        "atanh",
        "ceil",
        "cos",
        "cosh",
        "erf",
        "exp",
        "floor",
        "log",
        "neg",
    ),
    *("reciprocal", "relu", "round", "sigmoid", "sign", "sin", "sinh", "sqrt", "tan", "tanh"),
)
_ARITHMETIC = ("add", "div", "maximum", "minimum", "mul", "pow", "sub")
_COMPARISONS = ("eq", "ge", "gt", "le", "lt")


def _dtype(v: Value) -> Any:
    assert v.aval is not None
    return v.aval.dtype


def _as_result(writer: Writer, node: Node) -> list[str]:
    """What an operation reads, in the dtype of its result."""
    wanted = _dtype(node.outputs[0])
    return [writer.cast(writer.of(v), _dtype(v), wanted) for v in node.inputs]


def _same(writer: Writer, node: Node) -> str:
    assert node.op.onnx is not None
    return writer.add(node.op.onnx, *_as_result(writer, node))


def _comparison(writer: Writer, node: Node) -> str:
    wide = np.result_type(*(_dtype(v) for v in node.inputs))
    if wide == np.bool_ and node.op.name != "eq":
        wide = np.dtype(np.uint8)
    assert node.op.onnx is not None
    return writer.add(node.op.onnx, *(writer.cast(writer.of(v), _dtype(v), wide) for v in node.inputs))


def _ne(writer: Writer, node: Node) -> str:
    wide = np.result_type(*(_dtype(v) for v in node.inputs))
    return writer.add("Not", writer.add("Equal", *(writer.cast(writer.of(v), _dtype(v), wide) for v in node.inputs)))


def _logical(writer: Writer, node: Node) -> str:
    assert node.op.onnx is not None
    return writer.add(node.op.onnx, *(writer.cast(writer.of(v), _dtype(v), np.bool_) for v in node.inputs))


def _bits(name: str, of_bools: str) -> Rule:
    def rule(writer: Writer, node: Node) -> str:
        given = _as_result(writer, node)
        return writer.add(of_bools if _dtype(node.outputs[0]) == np.bool_ else name, *given)

    return rule


def _where(writer: Writer, node: Node) -> str:
    condition, *values = node.inputs
    wanted = _dtype(node.outputs[0])
    names = [writer.cast(writer.of(v), _dtype(v), wanted) for v in values]
    return writer.add("Where", writer.cast(writer.of(condition), _dtype(condition), np.bool_), *names)


def _clamp(writer: Writer, node: Node) -> str:
    out, params = node.outputs[0], node.params
    low, high = (params[key] for key in (("min", "max") if "min" in params else ("min_val", "max_val")))
    limits = ["" if limit is None else writer.number(limit, out) for limit in (low, high)]
    return writer.add("Clip", *_as_result(writer, node), *limits)


def _square(writer: Writer, node: Node) -> str:
    (x,) = _as_result(writer, node)
    return writer.add("Mul", x, x)


def _rsqrt(writer: Writer, node: Node) -> str:
    return writer.add("Reciprocal", writer.add("Sqrt", *_as_result(writer, node)))


def _expm1(writer: Writer, node: Node) -> str:
    return writer.add("Sub", writer.add("Exp", *_as_result(writer, node)), writer.number(1, node.outputs[0]))


def _log1p(writer: Writer, node: Node) -> str:
    return writer.add("Log", writer.add("Add", *_as_result(writer, node), writer.number(1, node.outputs[0])))


def _logarithm(base: float) -> Rule:
    def rule(writer: Writer, node: Node) -> str:
        return writer.add(
            "Div", writer.add("Log", *_as_result(writer, node)), writer.number(math.log(base), node.outputs[0])
        )

    return rule


def _exp2(writer: Writer, node: Node) -> str:
    return writer.add("Pow", writer.number(2, node.outputs[0]), *_as_result(writer, node))


def _truncated(writer: Writer, x: str) -> str:
    return writer.add("Mul", writer.add("Sign", x), writer.add("Floor", writer.add("Abs", x)))


def _trunc(writer: Writer, node: Node) -> str:
    return _truncated(writer, *_as_result(writer, node))


def _frac(writer: Writer, node: Node) -> str:
    (x,) = _as_result(writer, node)
    return writer.add("Sub", x, _truncated(writer, x))


def _floor_divide(writer: Writer, node: Node) -> str:
    x, y = _as_result(writer, node)
    if _dtype(node.outputs[0]).kind == "f":
        return writer.add("Floor", writer.add("Div", x, y))
    return writer.add("Div", writer.add("Sub", x, writer.add("Mod", x, y)), y)


def _remainder(writer: Writer, node: Node) -> str:
    x, y = _as_result(writer, node)
    if _dtype(node.outputs[0]).kind != "f":
        return writer.add("Mod", x, y)
    return writer.add("Sub", x, writer.add("Mul", y, writer.add("Floor", writer.add("Div", x, y))))


def _fmod(writer: Writer, node: Node) -> str:
    return writer.add("Mod", *_as_result(writer, node), fmod=1)


def _isfinite(writer: Writer, node: Node) -> str:
    (x,) = writer.given(node)
    return writer.add("Not", writer.add("Or", writer.add("IsNaN", x), writer.add("IsInf", x)))


def _test(writer: Writer, node: Node) -> str:
    assert node.op.onnx is not None
    return writer.add(node.op.onnx, *writer.given(node))


def _affine(writer: Writer, node: Node) -> str:
    x, weight, bias = _as_result(writer, node)
    return writer.add("Add", writer.add("Mul", x, weight), bias)


def _elu(writer: Writer, node: Node) -> str:
    (x,), out = _as_result(writer, node), node.outputs[0]
    alpha, scale, slope = (float(node.params[key]) for key in ("alpha", "scale", "slope"))
    if slope == 1:
        made = writer.add("Elu", x, alpha=alpha)
        return made if scale == 1 else writer.add("Mul", made, writer.number(scale, out))
    zero = writer.number(0, out)
    exponent = writer.add("Mul", writer.add("Min", x, zero), writer.number(slope, out))
    below = writer.add("Sub", writer.add("Exp", exponent), writer.number(1, out))
    above = writer.add("Mul", x, writer.number(scale, out))
    below = writer.add("Mul", below, writer.number(alpha * scale, out))
    return writer.add("Where", writer.add("Greater", x, zero), above, below)


def _leaky_relu(writer: Writer, node: Node) -> str:
    return writer.add("LeakyRelu", *_as_result(writer, node), alpha=float(node.params["negative_slope"]))


def _softplus(writer: Writer, node: Node) -> str:
    (x,), out = _as_result(writer, node), node.outputs[0]
    beta, threshold = (float(node.params[key]) for key in ("beta", "threshold"))
    scaled = x if beta == 1 else writer.add("Mul", x, writer.number(beta, out))
    made = writer.add("Softplus", scaled)
    made = made if beta == 1 else writer.add("Div", made, writer.number(beta, out))
    if math.isinf(threshold):
        return made
    return writer.add("Where", writer.add("Greater", scaled, writer.number(threshold, out)), x, made)


def _silu(writer: Writer, node: Node) -> str:
    (x,) = _as_result(writer, node)
    return writer.add("Mul", x, writer.add("Sigmoid", x))


def _gated(writer: Writer, node: Node) -> str:
    x, gate = _as_result(writer, node)
    return writer.add("Mul", x, writer.add("Sigmoid", gate))


def _gelu(writer: Writer, node: Node) -> str:
    (x,), out = _as_result(writer, node), node.outputs[0]
    if writer.opset >= 20:
        return writer.add("Gelu", x, approximate=node.params["approximate"])
    if node.params["approximate"] == "none":
        inner = writer.add("Erf", writer.add("Mul", x, writer.number(math.sqrt(0.5), out)))
    else:
        cubic = writer.add("Mul", writer.add("Mul", x, x), writer.number(0.044715, out))
        bent = writer.add("Mul", x, writer.add("Add", cubic, writer.number(1, out)))
        inner = writer.add("Tanh", writer.add("Mul", bent, writer.number(math.sqrt(2 / math.pi), out)))
    half = writer.add("Mul", x, writer.number(0.5, out))
    return writer.add("Mul", half, writer.add("Add", inner, writer.number(1, out)))


def _cast(writer: Writer, node: Node) -> str:
    return writer.cast(writer.of(node.inputs[0]), _dtype(node.inputs[0]), _dtype(node.outputs[0]))


def _itself(writer: Writer, node: Node) -> str:
    return writer.of(node.inputs[0])


def _fill(writer: Writer, node: Node) -> str:
    like, value = node.inputs
    name = writer.cast(writer.of(value), _dtype(value), _dtype(node.outputs[0]))
    return writer.add("Expand", name, writer.lengths(writer.shape(like)))


RULES: dict[str, Rule] = {
    **dict.fromkeys((*_SAME, *_ARITHMETIC), _same),
    **dict.fromkeys(_COMPARISONS, _comparison),
    **dict.fromkeys(("logical_and", "logical_or", "logical_xor", "logical_not"), _logical),
    **dict.fromkeys(("isnan", "isinf"), _test),
    **dict.fromkeys(("clamp", "hardtanh"), _clamp),
    **dict.fromkeys(("clone", "to_device"), _itself),
    "affine": _affine,
    "bitwise_and": _bits("BitwiseAnd", "And"),
    "bitwise_not": _bits("BitwiseNot", "Not"),
    "bitwise_or": _bits("BitwiseOr", "Or"),
    "bitwise_xor": _bits("BitwiseXor", "Xor"),
    "cast": _cast,
    "elu": _elu,
    "exp2": _exp2,
    "expm1": _expm1,
    "fill": _fill,
    "floor_divide": _floor_divide,
    "fmod": _fmod,
    "frac": _frac,
    "gelu": _gelu,
    "isfinite": _isfinite,
    "leaky_relu": _leaky_relu,
    "log10": _logarithm(10),
    "log1p": _log1p,
    "log2": _logarithm(2),
    "ne": _ne,
    "remainder": _remainder,
    "rsqrt": _rsqrt,
    "gated": _gated,
    "silu": _silu,
    "softplus": _softplus,
    "square": _square,
    "trunc": _trunc,
    "where": _where,
}
