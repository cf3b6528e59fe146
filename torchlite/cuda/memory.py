"""The memory of tensors on a GPU: CuPy's pool under the names of `torch.cuda`.

The pool keeps what arrays give back, so "allocated" is what arrays use and "reserved" what the pool holds. It keeps no
record of a peak: that is counted from the first call of `reset_peak_memory_stats` or `max_memory_allocated` on, by a hook
that CuPy then calls at each allocation. Before, nothing is paid. Where there is no GPU all figures are 0, as in PyTorch.
"""

from __future__ import annotations

import functools
from typing import Any

from torchlite import backends
from torchlite.devices import Device


def _pool() -> Any:
    """CuPy's memory pool, None where there is no GPU."""
    return backends.cupy().get_default_memory_pool() if backends.cuda_device_count() else None


def _on(device: Any) -> Any:
    """CuPy's context of a GPU: the pool's figures are those of the current one."""
    index = device if device is None or isinstance(device, int) else Device(device).index
    return backends.cupy().cuda.Device(index)


def _of_pool(figure: str, device: Any) -> int:
    pool = _pool()
    if pool is None:
        return 0
    with _on(device):
        return int(getattr(pool, figure)())


def empty_cache() -> None:
    """Give memory that no array uses back to the driver, so that other programs can have it."""
    pool = _pool()
    if pool is not None:
        pool.free_all_blocks()


def memory_allocated(device: Any = None) -> int:
    """Bytes that arrays use on a GPU."""
    return _of_pool("used_bytes", device)


def memory_reserved(device: Any = None) -> int:
    """Bytes that the pool holds on a GPU, in use or not."""
    return _of_pool("total_bytes", device)


class _Peak:
    """The largest number of bytes in use on each GPU, kept by a hook of CuPy."""

    def __init__(self) -> None:
        self.now: dict[int, int] = {}
        self.largest: dict[int, int] = {}

    def count(self, device: int, change: int) -> None:
        now = self.now[device] = self.now.get(device, 0) + change
        if now > self.largest.get(device, 0):
            self.largest[device] = now

    def restart(self, device: int, used: int) -> None:
        self.now[device] = self.largest[device] = used


@functools.cache
def _peak() -> _Peak:
    """The counter, which is begun by asking for it."""
    peak = _Peak()

    class Hook(backends.cupy().cuda.MemoryHook):  # type: ignore[misc]
        name = "torchlite peak of memory"

        def malloc_postprocess(self, *, device_id: int, mem_size: int, **_: Any) -> None:
            peak.count(device_id, mem_size)

        def free_postprocess(self, *, device_id: int, mem_size: int, **_: Any) -> None:
            peak.count(device_id, -mem_size)

    Hook().__enter__()
    for index in range(backends.cuda_device_count()):
        peak.restart(index, memory_allocated(index))
    return peak


def reset_peak_memory_stats(device: Any = None) -> None:
    """Count the peak of `max_memory_allocated` from here on."""
    if _pool() is not None:
        _peak().restart(_index(device), memory_allocated(device))


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes that arrays have used at a time on a GPU since `reset_peak_memory_stats`, or since this was first asked."""
    return _peak().largest[_index(device)] if _pool() is not None else 0


def _index(device: Any) -> int:
    with _on(device):
        return int(backends.cupy().cuda.Device().id)


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """Bytes of a GPU's memory that are free for the driver, and all of them.

    Raises:
        DeviceError: without a GPU.
    """
    index = backends.resolve(Device("cuda") if device is None or isinstance(device, int) else Device(device)).index
    with _on(device if isinstance(device, int) else index):
        free, total = backends.cupy().cuda.runtime.memGetInfo()
    return int(free), int(total)


def memory_stats(device: Any = None) -> dict[str, int]:
    """The figures of this module by PyTorch's names of them; empty without a GPU."""
    if _pool() is None:
        return {}
    return {
        "allocated_bytes.all.current": memory_allocated(device),
        "allocated_bytes.all.peak": max_memory_allocated(device),
        "reserved_bytes.all.current": memory_reserved(device),
    }


def memory_summary(device: Any = None, abbreviated: bool = False) -> str:  # noqa: ARG001 - PyTorch's signature
    """The figures of this module as text."""
    stats = memory_stats(device)
    if not stats:
        return "no GPU: no memory is allocated on one"
    free, total = mem_get_info(device)
    rows = {
        "used by arrays": stats["allocated_bytes.all.current"],
        "used at most, as far as counted": stats["allocated_bytes.all.peak"],
        "held by the pool": stats["reserved_bytes.all.current"],
        "free on the device": free,
        "on the device": total,
    }
    return "\n".join(f"{what:<34}{size / 2**20:>12.2f} MiB" for what, size in rows.items())
