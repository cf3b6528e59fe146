"""The memory of tensors on the CPU; PyTorch has this for GPUs only.

Nothing is counted while a program runs: `memory_allocated` looks for the tensors when it is asked. Only a peak can't be
found afterwards, so from the first call of `reset_peak_memory_stats` on Python's `tracemalloc` watches, which takes time.
"""

from __future__ import annotations

import gc
import os
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np

from torchlite._tensor import Tensor
from torchlite.autograd.graph import Node


def memory_allocated() -> int:
    """Bytes of the memory behind all tensors that are alive, what is kept for backward included; shared memory counts once."""
    return sum(owner.nbytes for owner in _owners())


def _owners() -> list[Any]:
    """The arrays that own the memory of tensors."""
    owners: dict[int, Any] = {}
    for array in _arrays():
        while isinstance(array.base, np.ndarray):
            array = array.base
        owners[id(array)] = array
    return list(owners.values())


def _arrays() -> Iterator[np.ndarray[Any, Any]]:
    for found in gc.get_objects():
        if issubclass(type(found), Tensor):  # `isinstance` would ask foreign objects for their `__class__`
            kept: tuple[Any, ...] = (getattr(found, "_data", None),)
        elif type(found) is Node and found.out is not None:
            outs = found.out if isinstance(found.out[0], tuple) else (found.out,)
            kept = tuple(out[0] for out in outs)
        else:
            continue
        yield from (array for array in kept if isinstance(array, np.ndarray))


def reset_peak_memory_stats() -> None:
    """Count the peak of `max_memory_allocated` from here on."""
    if tracemalloc.is_tracing():
        tracemalloc.reset_peak()
    else:
        tracemalloc.start()


def max_memory_allocated() -> int:
    """The most bytes that NumPy and Python have had allocated at a time since `reset_peak_memory_stats`.

    Of memory that was allocated before the first call of that, nothing is known.

    Raises:
        RuntimeError: when that was never called.
    """
    if not tracemalloc.is_tracing():
        raise RuntimeError(
            "max_memory_allocated: call torchlite.cpu.reset_peak_memory_stats() first; it begins to count"
        )
    return tracemalloc.get_traced_memory()[1]


def mem_get_info() -> tuple[int, int]:
    """Bytes of the machine's memory that are free, and all of them."""
    page = os.sysconf("SC_PAGE_SIZE")
    return page * os.sysconf("SC_AVPHYS_PAGES"), page * os.sysconf("SC_PHYS_PAGES")


def memory_summary() -> str:
    """A table of the live tensors' memory by dtype, largest first, and the peak where it is counted."""
    by_dtype: dict[str, list[int]] = {}
    for owner in _owners():
        by_dtype.setdefault(str(owner.dtype), []).append(owner.nbytes)
    rows = sorted(((sum(sizes), len(sizes), name) for name, sizes in by_dtype.items()), reverse=True)
    lines = [f"{'dtype':<12}{'blocks':>10}{'MiB':>14}"]
    lines += [f"{name:<12}{count:>10}{size / 2**20:>14.2f}" for size, count, name in rows]
    lines.append(f"{'total':<12}{sum(r[1] for r in rows):>10}{sum(r[0] for r in rows) / 2**20:>14.2f}")
    if tracemalloc.is_tracing():
        lines.append(f"peak of NumPy and Python since it is counted: {max_memory_allocated() / 2**20:.2f} MiB")
    return "\n".join(lines)
