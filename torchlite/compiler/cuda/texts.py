"""The text of a module: kernels, each once, behind what they use."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from typing import Any

from torchlite.backends import cupy
from torchlite.compiler.cuda import pointwise, reductions, scalars
from torchlite.devices import Device

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


_modules: dict[tuple[int | None, str], Any] = {}


def kept_module(texts: Texts, device: Device) -> Any:
    """Compiled for a GPU, which is CuPy's current one, once for all that is not compiled with a function; None, and one
    warning, where that can't be.
    """
    key = (device.index, texts.source)
    if key not in _modules:
        try:
            _modules[key] = texts.module()
        except Exception as error:  # of NVRTC, or because it is not there
            warn_once(f"kernels for a GPU can't be compiled, so there are more launches: {error}")
            _modules[key] = None
    return _modules[key]


@functools.cache
def warn_once(message: str) -> None:
    """That something can't be compiled."""
    with warnings.catch_warnings():  # those of what is traced are switched off
        warnings.simplefilter("always")
        warnings.warn(message, RuntimeWarning, stacklevel=2)
