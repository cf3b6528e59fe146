"""What operators on arrays of CuPy take from NVIDIA's libraries, where these are installed: convolution from cuDNN, products
of floats, with a bias or without, from cuBLASLt.

An operator takes it by decorating how it runs: ``run=on_gpu("convolution.convolution")(_run_convolution)``. The name is
that of a module here and of a function in it, which returns None for whatever it does not handle (a dtype, a geometry)
and where its library is missing; then the operator runs as it is written. Nothing is loaded or even imported before that.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np


@functools.cache
def function(name: str) -> Callable[..., Any]:
    """The function ``name`` ("module.function") of this package."""
    module, _, attribute = name.partition(".")
    return getattr(importlib.import_module(f"torchlite.backends.nvidia.{module}"), attribute)


def on_gpu(name: str) -> Callable[..., Any]:
    """Decorate an operator's ``run`` so that ``name`` ("module.function") computes what it can of a GPU's arrays."""

    def decorate(run: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(run)
        def chosen(xp: Any, *arrays: Any, **params: Any) -> Any:
            if xp is not np:
                result = function(name)(*arrays, **params)
                if result is not None:
                    return result
            return run(xp, *arrays, **params)

        return chosen

    return decorate
