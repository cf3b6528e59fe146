"""Steps of optimizers, for many parameters at once.

A row holds the arrays of one parameter: itself, its gradient, the state of the rule. Kernels write into them and say
whether they have; they don't where an array is not dense or not float32, or two share memory.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from torchlite.backends.native.library import Family

Array = np.ndarray[Any, Any]
Rows = Sequence[Sequence[Array]]

C = Family("optimizers.c", adam="aaanp", sgd="aaannp")


class _Adam(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_float)
        for name in ("sign", "decay", "kept", "rate", "one_minus_beta1", "beta2", "one_minus_beta2", "eps")
    ]


class _Descent(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_float) for name in ("sign", "decay", "rate", "momentum", "share")),
        ("first", ctypes.c_int32),
        ("nesterov", ctypes.c_int32),
    ]


def _listed(rows: Rows, widths: tuple[int, ...]) -> tuple[Array, Array, Array, int] | None:
    """The addresses and sizes of all arrays, room for the numbers of tasks, how many rows; None where one does not fit."""
    if not rows or len(rows[0]) not in widths:
        return None
    for row in rows:
        for array in row:
            if array.dtype != np.float32 or not array.flags.c_contiguous or array.size != row[0].size:
                return None
    addresses = np.array([array.ctypes.data for row in rows for array in row], np.uintp)
    sizes = np.array([row[0].size for row in rows], np.int64)
    starts = addresses[:: len(rows[0])]
    order = np.argsort(starts)
    if (starts[order][1:] < (starts + 4 * sizes.astype(np.uintp))[order][:-1]).any():
        return None  # parameters that share memory must be updated one after the other
    return addresses, sizes, np.empty_like(sizes), len(rows)


def adam(
    rows: Rows, *, maximize: bool, decay: float, kept: float, rate: float, beta1: float, beta2: float, eps: float
) -> bool:
    """Adam's rule on rows of parameter, gradient, mean and mean square."""
    listed = _listed(rows, (4,))
    if listed is None:
        return False
    C.adam(*listed, ctypes.byref(_Adam(-1 if maximize else 1, decay, kept, rate, 1 - beta1, beta2, 1 - beta2, eps)))
    return True


def sgd(
    rows: Rows,
    *,
    maximize: bool,
    decay: float,
    rate: float,
    momentum: float,
    dampening: float,
    first: bool,
    nesterov: bool,
) -> bool:
    """Gradient descent on rows of parameter and gradient, and with momentum its buffer, which is empty at the ``first`` step."""
    listed = _listed(rows, (3,) if momentum else (2,))
    if listed is None:
        return False
    rule = _Descent(-1 if maximize else 1, decay, rate, momentum, 1 - dampening, first, nesterov)
    C.sgd(*listed, len(rows[0]), ctypes.byref(rule))
    return True
