"""What happens where kernels of our own can't be compiled."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TypeVar

Compiled = TypeVar("Compiled")


def or_array_operations(what: str, compile_kernels: Callable[[], Compiled]) -> Compiled | None:
    """What ``compile_kernels`` gives; None, after a warning that array operations run instead, where it raises."""
    try:
        return compile_kernels()
    except Exception as error:  # of NVRTC, or because it is not there
        warnings.warn(
            f"kernels of {what} can't be compiled, so array operations run instead: {error}",
            RuntimeWarning,
            stacklevel=3,
        )
        return None
