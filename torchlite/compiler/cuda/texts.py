"""The text of a module: kernels, each once, behind what they use."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from typing import Any

from torchlite.backends import cupy
from torchlite.compiler.cuda import pointwise, reductions, scalars

# Each operation is rounded as it is uncompiled: a product and a sum are not contracted.
OPTIONS = ("--fmad=false", "--std=c++17")


class Texts:
    """Kernels that are compiled together."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def named(self, declared: Sequence[str], body: str) -> str:
        """The name of the function with these parameters and this body; those with the same text are one."""
        text = f"({', '.join(declared)}) {{\n{body}\n}}\n"
        return self._names.setdefault(text, f"fused{len(self._names)}")

    @property
    def source(self) -> str:
        """All of it."""
        kernels = "\n".join(f'extern "C" __global__ void {name}{text}' for text, name in self._names.items())
        return "\n".join([scalars.prelude(kernels), pointwise.PRELUDE, reductions.PRELUDE, kernels])

    def module(self) -> Any:
        """Compiled for CuPy's current GPU; what NVRTC refuses raises."""
        return cupy().RawModule(code=self.source, options=OPTIONS)


@functools.cache
def warn_once(message: str) -> None:
    """That something can't be compiled."""
    with warnings.catch_warnings():  # those of what is traced are switched off
        warnings.simplefilter("always")
        warnings.warn(message, RuntimeWarning, stacklevel=2)
