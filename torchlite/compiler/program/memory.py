"""The memory plan: where in one arena each intermediate result lies, so that what is no longer needed makes room."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence

from torchlite.compiler.program.places import Buffer

ALIGNED = 64  # bytes: a cache line, and the widest vector


def plan(lives: Iterable[tuple[Buffer, int, int]]) -> int:
    """Give each buffer its offset and return how large the arena is.

    Args:
        lives: buffers, each with the first and the last step in which it is used.
    """
    waiting = sorted(lives, key=lambda life: life[1])
    gaps: list[tuple[int, int]] = []  # (offset, bytes) that are free below the end, in order
    ends: list[tuple[int, int, int]] = []  # (last step, offset, bytes) of what is in use, in order
    size = 0
    for buffer, first, last in waiting:
        while ends and ends[0][0] < first:
            _, offset, length = ends.pop(0)
            _give_back(gaps, offset, length)
        need = -(-max(buffer.bytes, 1) // ALIGNED) * ALIGNED
        found = _smallest(gaps, need)
        if found is None:
            if gaps and gaps[-1][0] + gaps[-1][1] == size:  # the last gap grows
                offset, _ = gaps.pop()
            else:
                offset = size
            size = offset + need
        else:
            offset, length = gaps.pop(found)
            if length > need:
                bisect.insort(gaps, (offset + need, length - need))
        buffer.offset = offset
        bisect.insort(ends, (last, offset, need))
    return size


def _smallest(gaps: Sequence[tuple[int, int]], need: int) -> int | None:
    fitting = [(length, i) for i, (_, length) in enumerate(gaps) if length >= need]
    return min(fitting)[1] if fitting else None


def _give_back(gaps: list[tuple[int, int]], offset: int, length: int) -> None:
    at = bisect.bisect(gaps, (offset, length))
    if at < len(gaps) and gaps[at][0] == offset + length:
        length += gaps.pop(at)[1]
    if at and gaps[at - 1][0] + gaps[at - 1][1] == offset:
        at -= 1
        offset, before = gaps.pop(at)
        length += before
    gaps.insert(at, (offset, length))
