"""What programs ask about CUDA devices."""

from __future__ import annotations

from typing import Any

from torchlite import backends
from torchlite.devices import Device
from torchlite.ops.generator import default_generator


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


def synchronize(device: Any = None) -> None:  # noqa: ARG001 - PyTorch's signature
    """Wait until the current GPU has finished."""
    backends.synchronize()


def manual_seed(seed: int) -> None:
    """Seed the generator; one stream serves all devices."""
    default_generator.manual_seed(seed)


manual_seed_all = manual_seed
