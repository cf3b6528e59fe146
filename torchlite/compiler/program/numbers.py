"""Python numbers as C: learning rates, bias corrections and what else an optimizer computes outside of tensors."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from typing import Any

import numpy as np

from torchlite.compiler.graph import Node, Value
from torchlite.compiler.program.expressions import C_TYPES

# Where a result could be no float of C (a division by zero, a root of a negative number) or is an overflow to Python, the
# program gives up, and the function runs uncompiled and raises or computes what Python does.
_ARITHMETIC = {
    "number_add": ("{0} + {1}", None),
    "number_sub": ("{0} - {1}", None),
    "number_mul": ("{0} * {1}", None),
    "number_truediv": ("{0} / {1}", "{1} == 0"),
    "number_pow": ("pow({0}, {1})", "!({0} > 0) || !isfinite({1}) || !isfinite({2})"),
    "number_neg": ("-{0}", None),
    "number_abs": ("fabs({0})", None),
}


def is_number_in_c(node: Node, floats: Container[Value]) -> bool:
    """Whether the operation gives a float, or an array of one, that C computes as Python does.

    Args:
        node: the operation.
        floats: values that are Python floats which C knows.
    """
    name = node.op.name
    if name == "item":
        aval = node.inputs[0].aval
        return aval is not None and aval.dtype.kind == "f" and aval.dtype in C_TYPES
    numbers = [v for v in node.reads() if v.aval is None]
    if any(v not in floats and not _has_a_literal(v.constant) for v in numbers):
        return False
    if name == "number_as_array":
        return np.dtype(node.params["dtype"]).kind == "f" and np.dtype(node.params["dtype"]) in C_TYPES
    return name in _ARITHMETIC and any(v in floats for v in numbers)


def arithmetic(node: Node, names: Sequence[str]) -> tuple[str, str | None]:
    """The result of an operation on numbers, and the condition on which Python has to compute it.

    Args:
        node: the operation.
        names: of the operands and the result, which the condition may look at.
    """
    text, unless = _ARITHMETIC[node.op.name]
    return text.format(*names), unless and unless.format(*names)


def _has_a_literal(constant: Any) -> bool:
    try:
        return type(constant) in (int, float) and math.isfinite(constant)
    except OverflowError:
        return False
