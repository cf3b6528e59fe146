import mmap
import re
from pathlib import Path

import numpy as np
import pytest

from torchlite.backends.large_pages import large_page, move_to_large_pages, well_filled
from torchlite.backends.memory import address

SIZE = 1 << 21


def _bytes_in_large_pages(begin: int, end: int) -> int:
    """What the system says of the mappings that begin within."""
    found = 0
    for entry in re.split(r"\n(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text()):
        first, last = (int(x, 16) for x in entry.split(" ", 1)[0].split("-"))
        if first < end and last > begin:
            found += 1024 * int(re.search(r"AnonHugePages: +(\d+) kB", entry)[1])  # type: ignore[index]
    return found


def _memory() -> mmap.mmap:
    return mmap.mmap(-1, 8 * SIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def _can_move() -> bool:
    memory = _memory()
    memory.write(b"x" * 8 * SIZE)
    start = -address(np.frombuffer(memory, np.uint8)) % SIZE
    try:
        memory.madvise(25, start, SIZE)  # MADV_COLLAPSE
    except OSError:
        return False
    return True


@pytest.mark.skipif(large_page() != SIZE, reason="there are no pages of 2 MB here")
def test_many_arrays_beside_each_other_are_moved_and_stay_what_they_were():
    if not _can_move():
        pytest.skip("the system can't move memory to large pages at once")
    memory = np.frombuffer(_memory(), np.uint8)
    begin = -address(memory) % SIZE
    whole = memory[begin : begin + 6 * SIZE]
    start = address(whole)
    whole[:] = np.arange(whole.size) % 251
    if _bytes_in_large_pages(start, start + whole.nbytes):
        pytest.skip("all memory lies in large pages here")
    arrays = [whole[i : i + 60_000] for i in range(0, whole.size, 65_536)]
    move_to_large_pages(arrays)
    assert _bytes_in_large_pages(start, start + whole.nbytes) >= 6 * SIZE
    assert [address(a) for a in arrays] == [start + 65_536 * i for i in range(len(arrays))]
    assert np.array_equal(whole, np.arange(whole.size) % 251)


def test_pages_with_little_of_the_arrays_are_left_alone():
    memory = np.empty(6 * SIZE, np.uint8)
    begin = -address(memory) % SIZE
    first = (address(memory) + begin) // SIZE
    # a fifth of one page; three tenths of the next, apart; all of the third and a fourth
    ends = [(0, SIZE // 5), (SIZE, SIZE // 5), (SIZE + SIZE // 2, SIZE // 10), (2 * SIZE, 2 * SIZE)]
    arrays = [memory[begin + at : begin + at + n] for at, n in ends]
    assert well_filled(arrays, SIZE) == [first + 1, first + 2, first + 3]


def test_few_small_arrays_and_none_are_left_alone():
    move_to_large_pages([])
    x = np.arange(10)
    move_to_large_pages([x, x])
    assert x.sum() == 45
