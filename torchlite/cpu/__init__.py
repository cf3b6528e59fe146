"""What programs ask about the CPU, in the terms in which they ask about GPUs; and the memory of its tensors."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from torchlite.cpu.memory import (
    max_memory_allocated,
    mem_get_info,
    memory_allocated,
    memory_summary,
    reset_peak_memory_stats,
)

if TYPE_CHECKING:
    from torchlite.cpu import amp

__all__ = [
    "amp",
    "current_device",
    "device_count",
    "is_available",
    "is_initialized",
    "max_memory_allocated",
    "mem_get_info",
    "memory_allocated",
    "memory_summary",
    "reset_peak_memory_stats",
    "set_device",
    "synchronize",
]


def __getattr__(name: str) -> Any:
    if name == "amp":  # which lies above
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module 'torchlite.cpu' has no attribute {name!r}")


def is_available() -> bool:
    """True."""
    return True


def is_initialized() -> bool:
    """True."""
    return True


def device_count() -> int:
    """1: all processors together are one device."""
    return 1


def current_device() -> str:
    """The name of the device."""
    return "cpu"


def set_device(device: Any) -> None:
    """Nothing: there is one device."""


def synchronize(device: Any = None) -> None:
    """Nothing: every operator has finished when it returns."""
