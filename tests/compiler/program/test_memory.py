"""The memory plan: buffers that are in use at the same time do not overlap, and others share memory."""

import random

from torchlite.compiler.program.memory import ALIGNED, plan
from torchlite.compiler.program.places import Buffer


def lives(rng, count):
    for _ in range(count):
        first = rng.randrange(50)
        yield Buffer("arena", 0, rng.choice([0, 4, 64, 100, 4096, 70000]), 0), first, first + rng.randrange(12)


def test_what_lives_at_once_lies_apart():
    for seed in range(20):
        planned = list(lives(random.Random(seed), 80))
        size = plan(planned)
        for i, (a, first, last) in enumerate(planned):
            assert a.offset % ALIGNED == 0
            assert a.offset + a.bytes <= size
            for b, start, stop in planned[:i]:
                if first <= stop and start <= last and a.bytes and b.bytes:
                    assert a.offset + a.bytes <= b.offset or b.offset + b.bytes <= a.offset


def test_a_chain_takes_two_buffers():
    chain = [(Buffer("arena", 0, 1000, 0), i, i + 1) for i in range(30)]
    assert plan(chain) == 2 * 1024


def test_neighbouring_gaps_become_one():
    small = [(Buffer("arena", 0, 64, 0), 0, 1) for _ in range(8)]
    large = (Buffer("arena", 0, 512, 0), 2, 3)
    assert plan([*small, large]) == 512
