"""Random numbers of compiled functions are those of uncompiled ones."""

import warnings

import numpy as np
from eager_and_compiled import both, captured, falls_back, same

import torchlite as torch
from torchlite import nn


def test_random_numbers_of_every_kind():
    def program(compile_):
        def f(x):
            return x + torch.rand(3) + torch.randn(3), torch.bernoulli(torch.full((3,), 0.5)), torch.randn_like(x)

        f = compile_(f)
        return [f(torch.ones(3)) for _ in range(5)] + [torch.rand(2)]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        both(program)


def test_reseeding_repeats_the_numbers():
    f = torch.compile(lambda x: nn.functional.dropout(x, 0.5))
    x = torch.ones(50)
    results = []
    for _ in range(4):
        torch.manual_seed(7)
        results.append(f(x))
    for r in results[1:]:
        same(results[0], r)


def test_seeding_inside():
    def program(compile_):
        def f(x):
            torch.manual_seed(7)
            return nn.functional.dropout(x, 0.5)

        f = compile_(f)
        return [f(torch.ones(20)) for _ in range(4)] + [torch.rand(2)]

    falls_back(program, "a generator: its seed")


def test_a_generator_of_ones_own():
    def program(compile_):
        g = torch.Generator().manual_seed(2)
        f = compile_(lambda x: x + torch.rand(3, generator=g))
        return [f(torch.ones(3)) for _ in range(4)]

    (f,) = both(program)
    assert captured(f)
    assert len(f.variants) == 1


def test_random_numbers_of_numpy():
    def program(compile_):
        np.random.seed(0)
        f = compile_(lambda x: x * float(np.random.rand()))
        return [f(torch.ones(2)) for _ in range(4)]

    falls_back(program, "random")
