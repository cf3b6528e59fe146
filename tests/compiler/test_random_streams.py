"""Random numbers of compiled functions are those of uncompiled ones."""

import warnings

import numpy as np
import pytest
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


def test_random_indices():
    """Samples and permutations of a batch, drawn inside; the stream goes on as in eager execution, also from new seeds."""

    def program(compile_):
        model = nn.Parameter(torch.ones(6))
        own = torch.Generator().manual_seed(2)

        def step(x):
            model.grad = None
            chosen = x[torch.randint(0, len(x), (3,))]
            mixed = chosen[:, torch.randperm(6, generator=own)]
            loss = (mixed * model * torch.randint(-2, 3, (6,), dtype=torch.float32)).sum()
            loss.backward()
            return (
                loss.detach(),
                torch.randint_like(x, 5),
                torch.empty(2, dtype=torch.int32).random_(9),
                torch.randperm(3),
            )

        step = compile_(step)
        results = []
        for i in range(8):
            if i == 4:
                torch.manual_seed(5)
                own.manual_seed(6)
            results += [step(torch.arange(24.0).reshape(4, 6)), model.grad, torch.rand(1), torch.rand(1, generator=own)]
        return results

    (step,) = both(program)
    assert len(step.variants) == 1


@pytest.mark.parametrize(
    "draw",
    [
        lambda x: torch.multinomial(x, 5, replacement=True),
        lambda x: torch.multinomial(x[0], 2),
        lambda x: torch.distributions.Categorical(logits=x).sample((2,)),
        lambda x: torch.distributions.Multinomial(3, x).sample(),
    ],
)
def test_categories(draw):
    """As an agent chooses its actions; weights that are none are the error of uncompiled code."""

    def program(compile_):
        f = compile_(draw)
        results = [f(torch.tensor([[1.0, 2.0, 3.0 + i], [4.0, 0.0, 1.0]])) for i in range(6)]
        try:
            f(torch.tensor([[1.0, float("nan"), 3.0], [4.0, 0.0, 1.0]]))
        except (RuntimeError, ValueError) as error:
            results.append(type(error).__name__)
        return results, torch.rand(2)

    (f,) = both(program)
    assert captured(f)
