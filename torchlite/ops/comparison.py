"""Comparison and logic: results are bool and carry no gradient."""

from __future__ import annotations

from numbers import Number
from typing import Any

import numpy as np

from torchlite._tensor import Tensor, method
from torchlite.ops.construct import binary, unary
from torchlite.ops.destination import OutDtype

eq = binary(
    "eq",
    ufunc="equal",
    quiet=False,
    result=bool,
    scalar="x == y",
    onnx="Equal",
    numbers="other",
    doc="x = y, elementwise.",
)
ne = binary(
    "ne", ufunc="not_equal", quiet=False, result=bool, scalar="x != y", numbers="other", doc="x ≠ y, elementwise."
)
lt = binary(
    "lt",
    ufunc="less",
    quiet=False,
    result=bool,
    scalar="x < y",
    onnx="Less",
    numbers="other",
    doc="x < y, elementwise.",
)
le = binary(
    "le",
    ufunc="less_equal",
    quiet=False,
    result=bool,
    scalar="x <= y",
    onnx="LessOrEqual",
    numbers="other",
    doc="x ≤ y, elementwise.",
)
gt = binary(
    "gt",
    ufunc="greater",
    quiet=False,
    result=bool,
    scalar="x > y",
    onnx="Greater",
    numbers="other",
    doc="x > y, elementwise.",
)
ge = binary(
    "ge",
    ufunc="greater_equal",
    result=bool,
    scalar="x >= y",
    onnx="GreaterOrEqual",
    numbers="other",
    doc="x ≥ y, elementwise.",
)

logical_and = binary(
    "logical_and",
    ufunc="logical_and",
    quiet=False,
    result=bool,
    scalar="x && y",
    onnx="And",
    numbers="neither",
    doc="Both are not 0.",
)
logical_or = binary(
    "logical_or",
    ufunc="logical_or",
    quiet=False,
    result=bool,
    scalar="x || y",
    onnx="Or",
    numbers="neither",
    doc="One is not 0.",
)
logical_xor = binary(
    "logical_xor",
    ufunc="logical_xor",
    result=bool,
    scalar="!x != !y",
    onnx="Xor",
    numbers="neither",
    doc="Exactly one is not 0.",
)
logical_not = unary(
    "logical_not",
    ufunc="logical_not",
    quiet=False,
    result=bool,
    out_dtype=OutDtype.CAST,
    scalar="!x",
    onnx="Not",
    doc="x is 0.",
)

_INTEGERS = (0.0, 8.0)
bitwise_and = binary("bitwise_and", ufunc="bitwise_and", scalar="x & y", domain=_INTEGERS, doc="Bits in both integers.")
bitwise_or = binary(
    "bitwise_or", ufunc="bitwise_or", scalar="x | y", domain=_INTEGERS, doc="Bits in one of two integers."
)
bitwise_xor = binary("bitwise_xor", ufunc="bitwise_xor", scalar="x ^ y", domain=_INTEGERS, doc="Bits in exactly one.")
bitwise_not = unary(
    "bitwise_not", ufunc="invert", scalar="~x", domain=_INTEGERS, doc="Every bit of an integer flipped."
)


def _comparable(other: Any) -> bool:
    return isinstance(other, (Tensor, Number, np.ndarray, np.generic))


def _equality(function: Any) -> Any:
    def compare(self: Tensor, other: Any) -> Any:
        return function(self, other) if _comparable(other) else NotImplemented

    return compare


method("__eq__")(_equality(eq))
method("__ne__")(_equality(ne))
for _name, _function in {"lt": lt, "le": le, "gt": gt, "ge": ge}.items():
    method(f"__{_name}__")(_function)
for _name, _function in {"and": bitwise_and, "or": bitwise_or, "xor": bitwise_xor}.items():
    method(f"__{_name}__", f"__r{_name}__")(_function)
method("__invert__")(bitwise_not)
for _name in ("and", "or", "xor"):
    method(f"__i{_name}__")(getattr(Tensor, f"bitwise_{_name}_"))
