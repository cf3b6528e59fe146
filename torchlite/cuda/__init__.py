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
from torchlite.cuda.streams import Event, Stream, current_stream, default_stream, stream
from torchlite.devices import Device
from torchlite.ops.generator import default_generator

if TYPE_CHECKING:
    from torchlite.cuda import amp

__all__ = [
    "Event",
    "Stream",
    "amp",
    "current_device",
    "current_stream",
    "default_stream",
    "device_count",
    "empty_cache",
    "get_device_capability",
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
    "set_device",
    "stream",
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


def set_device(device: Any) -> None:
    """Let ``"cuda"`` without a number mean this GPU."""
    chosen = Device("cuda", device) if isinstance(device, int) else Device(device)
    backends.cupy().cuda.Device(backends.resolve(chosen).index).use()


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """The compute capability of a GPU, such as (9, 0)."""
    index = backends.resolve(Device("cuda") if device is None else Device(device)).index
    text = str(backends.cupy().cuda.Device(index).compute_capability)
    return int(text[:-1]), int(text[-1])


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
