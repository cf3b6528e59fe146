"""Kernels in C for operators on NumPy arrays, where a C compiler is found and an operator is large enough to gain.

An operator takes one by decorating how it runs: ``@accelerated("rows.softmax")``. The name is that of a
module here and of a function in it, which returns None for whatever it does not handle (a dtype, a layout); then, and
where there is no compiler, the operator runs as it is written. Nothing is compiled or even imported before that.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from torchlite.backends.native import toolchain

# Below that many numbers NumPy is done before a compiler would have been worth waiting for, even once.
LARGE = 1 << 15


@functools.cache
def kernel(name: str) -> Callable[..., Any] | None:
    """The function ``name`` ("module.function"); None where kernels are switched off or can't be compiled.

    It is one of the module, or one of its C text that takes arrays as they are.
    """
    if not toolchain.enabled():
        return None
    module, _, function = name.partition(".")
    family = importlib.import_module(f"torchlite.backends.native.{module}")
    if not family.C.available():
        return None
    if hasattr(family, function):
        run: Callable[..., Any] = family.C.guarded(getattr(family, function))
        return run
    return getattr(family.C, function) if family.C.understands_arrays else None


def accelerated(
    name: str, least: int = LARGE, *, of: np.dtype[Any] | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate an operator's ``run`` so that the kernel ``name`` computes what it can.

    Args:
        name: as in `kernel`.
        least: the number of elements of the first array from which it is worth it.
        of: the only dtype of the first array that the kernel handles; nothing is compiled for others.
    """

    def decorate(run: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(run)
        def chosen(xp: Any, *arrays: Any, **params: Any) -> Any:
            if arrays[0].size >= least and xp is np and (of is None or arrays[0].dtype == of):
                fast = kernel(name)
                if fast is not None:
                    result = fast(*arrays, **params)
                    if result is not None:
                        return result
            return run(xp, *arrays, **params)

        return chosen

    return decorate
