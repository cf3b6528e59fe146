"""Steps of optimizers, for many parameters at once.

Arrays come in rows, one after the other: a parameter, its gradient, the state of the rule. Kernels write into them and say
whether they have; they don't where an array is not dense or not float32, or two parameters share memory.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from torchlite.backends.native.library import Family, objects

Arrays = Sequence[np.ndarray[Any, Any]]

C = Family("arrays.h", "lists.h", "optimizers.c", adam="pnp->i", sgd="pnnp->i", understands="oan->i")


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


def adam(
    arrays: Arrays,
    width: int,
    *,
    maximize: bool,
    decay: float,
    kept: float,
    rate: float,
    beta1: float,
    beta2: float,
    eps: float,
) -> bool:
    """Adam's rule on rows of parameter, gradient, mean and mean square."""
    if width != 4 or not C.understands_arrays:
        return False
    rule = _Adam(-1 if maximize else 1, decay, kept, rate, 1 - beta1, beta2, 1 - beta2, eps)
    return bool(C.adam(objects(arrays), len(arrays) // width, ctypes.byref(rule)))


def sgd(
    arrays: Arrays,
    width: int,
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
    if width != (3 if momentum else 2) or not C.understands_arrays:
        return False
    rule = _Descent(-1 if maximize else 1, decay, rate, momentum, 1 - dampening, first, nesterov)
    return bool(C.sgd(objects(arrays), len(arrays) // width, width, ctypes.byref(rule)))
