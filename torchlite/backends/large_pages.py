"""Memory in pages of 2 MB, where Linux has them and allows them.

A processor remembers where some two thousand pages are. An optimizer, which goes through all weights, their gradients and its
own state once a step, waits for nothing longer than for where each of their pages of 4 KB is. NumPy asks for large pages for
arrays from 4 MB on; smaller ones that lie beside each other are moved here.
"""

from __future__ import annotations

import ctypes
import functools
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torchlite.backends.memory import address

_COLLAPSE = 25  # MADV_COLLAPSE, of Linux from 6.1 on
_LARGE_ANYWAY = 1 << 22  # bytes from which on NumPy asks for large pages
_WORTH = 1 << 22  # bytes in small pages that a processor loses track of
_LEAST_SHARE = 4  # of a large page, below which what may be wasted is worth more
_SETTINGS = Path("/sys/kernel/mm/transparent_hugepage")


@functools.cache
def large_page() -> int | None:
    """The bytes of a large page; None where there are none, or nobody shall have any."""
    try:
        if "[never]" in (_SETTINGS / "enabled").read_text():
            return None
        return int((_SETTINGS / "hpage_pmd_size").read_text())
    except (OSError, ValueError):
        return None


def well_filled(arrays: Iterable[Any], size: int) -> list[int]:
    """The numbers of the pages of ``size`` bytes of which these arrays fill a quarter."""
    filled: Counter[int] = Counter()
    for array in arrays:
        first = address(array)
        end = first + array.nbytes
        for page in range(first // size, -(-end // size)):
            filled[page] += min(end, (page + 1) * size) - max(first, page * size)
    return [page for page, nbytes in filled.items() if nbytes * _LEAST_SHARE >= size]


def move_to_large_pages(arrays: Iterable[Any]) -> None:
    """Let these arrays of NumPy lie in large pages, at the same addresses, where the system can do that and it is worth it.

    It takes about a millisecond a page, once.
    """
    size = large_page()
    scattered = [array for array in arrays if array.nbytes < _LARGE_ANYWAY]
    if size is None or sum(array.nbytes for array in scattered) < _WORTH:
        return
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for page in well_filled(scattered, size):
        advise(page * size, size, _COLLAPSE)  # what can't be moved stays where it is
