"""What programs ask about CUDA devices."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from torchlite import backends
from torchlite.cuda.memory import (
    empty_cache,
    max_memory_allocated,
    mem_get_info,
    memory_allocated,
    memory_reserved,
    memory_stats,
    memory_summary,
    reset_peak_memory_stats,
)
from torchlite.devices import Device
from torchlite.ops.generator import default_generator

if TYPE_CHECKING:
    from torchlite.cuda import amp

__all__ = [
    "amp",
    "current_device",
    "device_count",
    "empty_cache",
    "get_device_name",
    "is_available",
    "is_bf16_supported",
    "manual_seed",
    "manual_seed_all",
    "max_memory_allocated",
    "mem_get_info",
    "memory_allocated",
    "memory_reserved",
    "memory_stats",
    "memory_summary",
    "reset_peak_memory_stats",
    "synchronize",
]


def __getattr__(name: str) -> Any:
    if name == "amp":  # which lies above
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module 'torchlite.cuda' has no attribute {name!r}")


def is_available() -> bool:
    """Whether CuPy is installed and finds a GPU."""
    return backends.cuda_device_count() > 0


def device_count() -> int:
    """Number of GPUs."""
    return backends.cuda_device_count()


def current_device() -> int:
    """Index of the GPU that ``"cuda"`` means."""
    return backends.resolve(Device("cuda")).index or 0


def get_device_name(device: Any = None) -> str:
    """The name of a GPU as its driver reports it."""
    index = backends.resolve(Device("cuda") if device is None else Device(device)).index
    name = backends.cupy().cuda.runtime.getDeviceProperties(index)["name"]
    return name.decode() if isinstance(name, bytes) else str(name)


def is_bf16_supported() -> bool:
    """Whether the current GPU computes with bfloat16: from compute capability 8.0 on."""
    return is_available() and int(backends.cupy().cuda.Device().compute_capability) >= 80


def synchronize(device: Any = None) -> None:  # noqa: ARG001 - PyTorch's signature
    """Wait until the current GPU has finished."""
    backends.synchronize()


def manual_seed(seed: int) -> None:
    """Seed the generator; one stream serves all devices."""
    default_generator.manual_seed(seed)


manual_seed_all = manual_seed
