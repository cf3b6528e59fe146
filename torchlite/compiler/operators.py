"""Operators by name, as functions of arrays: what the text of a graph calls."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from torchlite.backends import cupy, gpu, has_one_gpu
from torchlite.compiler.numbers import HOST
from torchlite.devices import CPU, Device
from torchlite.ir import REGISTRY, Op

_NUMPY = str(Path(np.__file__).parent)


class Operators:
    """``operators.exp(x)`` runs the operator ``exp`` on the arrays of a device."""

    def __init__(self, device: Device = CPU) -> None:
        self._device = device

    def __getattr__(self, name: str) -> Callable[..., Any]:
        op = HOST.get(name) or REGISTRY.get(name)
        if op is None:
            raise AttributeError(f"no operator is called {name!r}")
        function = on_arrays(op) if self._device == CPU else on_gpu(op, self._device)
        setattr(self, name, function)
        return function


def on_arrays(op: Op) -> Callable[..., Any]:
    """The operator as a function of NumPy arrays that gives arrays, with no question on the way but for half types.

    A ufunc gives scalars of NumPy where arrays have no dimensions; they are told from arrays by nothing that runs here.
    """
    if op.kind == "host":
        return op.run
    if op.name == "view":
        return _reshaped
    run: Any = op.run
    if run.__code__.co_filename.startswith(_NUMPY):  # np.errstate around it: a replay has that around the whole
        run = run.__wrapped__

    def function(*arrays: Any, **params: Any) -> Any:
        return run(np, *arrays, **params)

    ufunc = op.ufunc
    if ufunc is None:
        return function

    def function_of_any(x: Any, *others: Any) -> Any:
        return run(np, x, *others) if x.itemsize == 2 else ufunc(x, *others)

    return function_of_any


def on_gpu(op: Op, device: Device) -> Callable[..., Any]:
    """The operator as a function of CuPy arrays."""
    if op.name == "view":
        return _reshaped
    run = functools.partial(op.run, cupy())
    if has_one_gpu():
        return run

    def function(*arrays: Any, **params: Any) -> Any:
        with gpu(device.index):
            return run(*arrays, **params)

    return function


def _reshaped(x: Any, *, shape: tuple[int, ...]) -> Any:
    return x.reshape(shape)


operators = Operators()
