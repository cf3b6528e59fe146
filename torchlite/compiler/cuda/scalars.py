"""One element in CUDA C++: types, numbers, and the expressions of operators.

Each result is rounded to its dtype as it is uncompiled; half types are computed in float between two roundings.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from torchlite import backends
from torchlite.backends.nvidia import halves
from torchlite.compiler.graph import Node, Value

TYPES = {
    "float32": "float", "float64": "double", **halves.TYPES, "bool": "bool", "uint8": "unsigned char", "int8": "signed char",
    "int16": "short", "int32": "int", "int64": "long long",
}  # fmt: skip
HALVES = tuple(halves.TYPES)
# Of the operators with a C expression, those whose expression means for integers what the operator does.
_FOR_INTEGERS = {
    "add", "sub", "mul", "neg", "square", "maximum", "minimum", "eq", "ne", "lt", "le", "gt", "ge", "where", "cast",
    "logical_and", "logical_or", "logical_not", "logical_xor", "bitwise_and", "bitwise_or", "bitwise_xor",
}  # fmt: skip
_FOR_BOOLEANS = {
    "eq",
    "ne",
    "where",
    "cast",
    "logical_and",
    "logical_or",
    "logical_not",
    "logical_xor",
    "bitwise_and",
    "bitwise_or",
}

PRELUDE = """\
typedef unsigned int Index;
#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#endif
#ifndef NAN
#define NAN __int_as_float(0x7fffffff)
#endif
"""


def prelude(text: str) -> str:
    """What has to stand before ``text``."""
    return "".join(part for name, part in halves.PRELUDE.items() if TYPES[name] in text) + PRELUDE


def dtype_of(v: Value) -> str:
    """The name of a value's dtype."""
    assert v.aval is not None
    return str(v.aval.dtype)


def stored_type(v: Value) -> str:
    """The type of its elements in memory."""
    return TYPES[dtype_of(v)]


def computed_type(v: Value) -> str:
    """The type in which they are computed."""
    return "float" if dtype_of(v) in HALVES else stored_type(v)


def loaded(v: Value, element: str) -> str:
    """An element of an array, to be computed with."""
    return f"widened({element})" if dtype_of(v) in HALVES else element


def stored(v: Value, name: str) -> str:
    """A computed number as an element of an array."""
    return f"as_{dtype_of(v)}({name})" if dtype_of(v) in HALVES else name


def computes(node: Node) -> bool:
    """Whether there is an expression for an operation on these dtypes."""
    op, out = node.op, node.outputs[0]
    if node.several or node.lifted or (op.scalar is None and op.name != "cast"):
        return False
    values = (*node.inputs, out)
    if any(v.aval is None or dtype_of(v) not in TYPES for v in values):
        return False
    operands = list(node.inputs[op.name == "where" :])
    if len({dtype_of(v) for v in operands if not _is_wide_number(v, operands[0])}) > 1:
        return False
    kind = dtype_of(operands[0])
    if kind == "bool":
        return op.name in _FOR_BOOLEANS
    return kind in ("float32", "float64", *HALVES) or op.name in _FOR_INTEGERS


def _is_wide_number(v: Value, first: Value) -> bool:
    """Whether it is a number beside a half type, which stays float32."""
    assert v.aval is not None
    return dtype_of(first) in HALVES and dtype_of(v) == "float32" and v.aval.ndim == 0


def number(v: Value) -> str | None:
    """The text of a constant of one element; None for anything else."""
    if v.constant is None or v.aval is None or v.aval.size != 1 or dtype_of(v) not in TYPES:
        return None
    value = passed(v)
    kind = computed_type(v)
    if value.dtype.kind == "b":
        return str(bool(value)).lower()
    if value.dtype.kind in "iu":
        return f"({kind})({int(value)}{'LL' if value.dtype.itemsize == 8 else ''})"
    if not np.isfinite(value):
        return f"({kind})({'NAN' if np.isnan(value) else 'INFINITY' if value > 0 else '-INFINITY'})"
    return f"({float(value).hex()}{'f' if kind == 'float' else ''})"


def passed(v: Value) -> Any:
    """A constant of one element as an argument of a kernel."""
    assert v.aval is not None
    dtype = np.float32 if dtype_of(v) in HALVES else v.aval.dtype
    return backends.to_numpy(v.constant).reshape(()).astype(dtype)[()]


def expression(node: Node, names: Sequence[str]) -> str:
    """The operation on scalars that are called so."""
    out = node.outputs[0]
    if node.op.name == "cast":
        text = f"{names[0]} != 0" if dtype_of(out) == "bool" else f"({computed_type(out)}){names[0]}"
    else:
        letters = ("c", "x", "y") if node.op.name == "where" else ("x", "y")
        given = dict(zip(letters, names, strict=False))
        text = re.sub(r"\b[cxy]\b", lambda found: given[found[0]], node.op.scalar or "")
    return f"widened(as_{dtype_of(out)}({text}))" if dtype_of(out) in HALVES else text
