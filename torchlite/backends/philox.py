"""Counter-based random words: Philox 4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).

Word i of a stream is a pure function of (seed, stream, offset + i), so a saved (seed, offset) is an exact resume, any
slice of a stream can be made alone, and NumPy, CuPy and generated code agree. The 64-bit variant is NumPy's own
compiled bit generator, whose raw output NumPy promises not to change.
"""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

WORDS_PER_BLOCK = 8
"""32-bit words that one counter value yields."""

_MASK = (1 << 64) - 1
_local = threading.local()

_KERNEL = r"""
extern "C" __global__ void philox4x64(unsigned long long* out, long long blocks, unsigned long long key0,
                                      unsigned long long key1, unsigned long long low, unsigned long long high,
                                      const unsigned long long* key0_at, const unsigned long long* low_at) {
    if (key0_at) key0 = *key0_at;
    if (low_at) low = *low_at;
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i >= blocks) return;
    unsigned long long c0 = low + (unsigned long long)i + 1ULL, c1 = c0 <= (unsigned long long)i ? 1ULL : 0ULL;
    unsigned long long c2 = high, c3 = 0ULL, k0 = key0, k1 = key1;
    for (int round = 0; round < 10; ++round) {
        unsigned long long hi0 = __umul64hi(0xD2E7470EE14C6C93ULL, c0), lo0 = 0xD2E7470EE14C6C93ULL * c0;
        unsigned long long hi1 = __umul64hi(0xCA5A826395121157ULL, c2), lo1 = 0xCA5A826395121157ULL * c2;
        c0 = hi1 ^ c1 ^ k0; c1 = lo1;
        c2 = hi0 ^ c3 ^ k1; c3 = lo0;
        k0 += 0x9E3779B97F4A7C15ULL; k1 += 0xBB67AE8584CAA73BULL;
    }
    out[4 * i] = c0; out[4 * i + 1] = c1; out[4 * i + 2] = c2; out[4 * i + 3] = c3;
}
"""


@dataclass(frozen=True, eq=False)
class Word:
    """A seed or an offset that a GPU reads when it draws: an array () of uint64 that lies there."""

    array: Any


def blocks_for(words: int) -> int:
    """How far a request for ``words`` 32-bit words moves the offset."""
    return -(-words // WORDS_PER_BLOCK)


def random_words(
    xp: Any, count: int, *, seed: int | Word, offset: int | Word = 0, stream: int = 0, epoch: int = 0
) -> Any:
    """``count`` uniform 32-bit words (uint32) from block ``offset`` of a stream.

    Args:
        xp: NumPy or CuPy.
        count: number of words.
        seed: 64-bit key.
        offset: first block; a block is 8 words. On a GPU it may be a `Word`, and so may the seed.
        stream: tells apart uses of one seed (shuffling, augmentation, dropout).
        epoch: high half of the counter: a further 2**64 blocks each.
    """
    blocks = blocks_for(count)
    stream &= _MASK
    if xp is np:
        assert not isinstance(seed, Word) and not isinstance(offset, Word)
        words = _of_numpy((seed & _MASK, stream), (offset & _MASK, offset >> 64, epoch, 0)).random_raw(4 * blocks)
    else:
        words = xp.empty(4 * blocks, xp.uint64)
        threads = 256
        places = [x.array if isinstance(x, Word) else None for x in (seed, offset)]
        key, low = (0 if isinstance(x, Word) else x & _MASK for x in (seed, offset))
        arguments = (words, np.int64(blocks), *map(np.uint64, (key, stream, low, epoch)), *places)
        _cuda_kernel(xp)((max(1, -(-blocks // threads)),), (threads,), arguments)
    return words.view(xp.uint32)[:count]


def _of_numpy(key: tuple[int, int], counter: tuple[int, int, int, int]) -> Any:
    """This thread's bit generator, set to a counter: thirty times faster than to make one."""
    generator = getattr(_local, "generator", None)
    if generator is None:
        generator = _local.generator = np.random.Philox(0)
    generator.state = {
        "bit_generator": "Philox",
        "state": {"counter": counter, "key": key},
        "buffer": (0, 0, 0, 0),
        "buffer_pos": 4,
        "has_uint32": 0,
        "uinteger": 0,
    }
    return generator


@functools.cache
def _cuda_kernel(xp: Any) -> Any:
    return xp.RawKernel(_KERNEL, "philox4x64")
