"""Samplers: reproducible from the seed, rightly distributed, clear about bad arguments."""

import math

import numpy as np
import pytest

import torchlite as torch

N = 40_000
DRAWS = {
    "normal": lambda **k: torch.normal(2.0, 3.0, size=(N,), **k),
    "normal of tensors": lambda **k: torch.normal(torch.full((N,), 2.0), torch.full((N,), 3.0), **k),
    "exponential_": lambda **k: torch.empty(N).exponential_(2.0, **k),
    "geometric_": lambda **k: torch.empty(N).geometric_(0.3, **k),
    "cauchy_": lambda **k: torch.empty(N).cauchy_(1.0, 2.0, **k),
    "log_normal_": lambda **k: torch.empty(N).log_normal_(0.5, 0.5, **k),
    "random_": lambda **k: torch.empty(N, dtype=torch.int64).random_(3, 9, **k),
    "poisson": lambda **k: torch.poisson(torch.full((N,), 4.0), **k),
    "large poisson": lambda **k: torch.poisson(torch.full((N,), 40.0), **k),
    "bernoulli": lambda **k: torch.bernoulli(torch.zeros(N), 0.3, **k),
    "bernoulli_": lambda **k: torch.zeros(N).bernoulli_(torch.full((N,), 0.3), **k),
    "multinomial": lambda **k: torch.multinomial(torch.tensor([1.0, 0.0, 3.0]), N, True, **k),
    "multinomial rows": lambda **k: torch.ones(N // 2, 2).multinomial(2, **k),
}
MOMENTS = {  # mean, standard deviation
    "normal": (2, 3),
    "normal of tensors": (2, 3),
    "exponential_": (0.5, 0.5),
    "geometric_": (1 / 0.3, math.sqrt(0.7) / 0.3),
    "log_normal_": (math.exp(0.625), math.sqrt(math.expm1(0.25)) * math.exp(0.625)),
    "random_": (5.5, math.sqrt(35 / 12)),
    "poisson": (4, 2),
    "large poisson": (40, math.sqrt(40)),
    "bernoulli": (0.3, math.sqrt(0.21)),
    "bernoulli_": (0.3, math.sqrt(0.21)),
    "multinomial": (1.5, math.sqrt(0.75)),
    "multinomial rows": (0.5, 0.5),
}


@pytest.mark.parametrize("name", DRAWS)
def test_draws_repeat_with_the_seed(name):
    torch.manual_seed(4)
    first, second = DRAWS[name](), DRAWS[name]()
    assert not torch.equal(first, second)
    assert torch.equal(DRAWS[name](generator=torch.Generator().manual_seed(4)), first)


@pytest.mark.parametrize("name", MOMENTS)
def test_moments(name):
    torch.manual_seed(8)
    x = DRAWS[name]().double().numpy()
    mean, std = MOMENTS[name]
    assert abs(x.mean() - mean) < 5 * std / math.sqrt(N)
    assert abs(x.std() / std - 1) < 0.05


def test_cauchy_quartiles():
    torch.manual_seed(8)
    np.testing.assert_allclose(np.quantile(DRAWS["cauchy_"]().numpy(), [0.25, 0.5, 0.75]), [-1, 1, 3], atol=0.1)


def test_without_replacement_every_category_comes_once_and_in_proportion():
    torch.manual_seed(2)
    weights = torch.tensor([1.0, 2.0, 0.0, 5.0]).expand(20_000, 4)
    drawn = torch.multinomial(weights, 3).numpy()
    assert {tuple(sorted(row)) for row in drawn.tolist()} == {(0, 1, 3)}
    np.testing.assert_allclose(np.bincount(drawn[:, 0], minlength=4) / 20_000, [1 / 8, 2 / 8, 0, 5 / 8], atol=0.015)
    second = np.bincount(drawn[drawn[:, 0] == 3][:, 1], minlength=4)
    np.testing.assert_allclose(second / second.sum(), [1 / 3, 2 / 3, 0, 0], atol=0.02)


def test_ranges():
    assert torch.empty(1000, dtype=torch.uint8).random_().numpy().max() > 250
    assert torch.empty(1000, dtype=torch.int8).random_().numpy().min() >= 0
    assert set(torch.empty(200).random_(3).tolist()) == {0.0, 1.0, 2.0}
    like = torch.randint_like(torch.zeros(50), 2, 4)
    assert like.dtype is torch.float32
    assert set(like.tolist()) == {2.0, 3.0}
    assert torch.poisson(torch.zeros(4)).tolist() == [0.0] * 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: torch.normal(0.0, -1.0, size=(2,)), "std >= 0"),
        (lambda: torch.empty(2).exponential_(0), "lambda > 0"),
        (lambda: torch.empty(2).geometric_(1.5), r"p to be in \(0, 1\)"),
        (lambda: torch.empty(2).cauchy_(0, -1), "sigma > 0"),
        (lambda: torch.empty(2).log_normal_(0, 0), "std > 0"),
        (lambda: torch.poisson(torch.tensor([-1.0])), "non-negative"),
        (lambda: torch.bernoulli(torch.tensor([1.5])), "p_in <= 1"),
        (lambda: torch.zeros(2).bernoulli_(2), r"p to be in \[0, 1\]"),
        (lambda: torch.multinomial(torch.tensor([1.0, -1.0]), 1), "element < 0"),
        (lambda: torch.multinomial(torch.zeros(2), 1), "sum of probabilities"),
        (lambda: torch.multinomial(torch.ones(2), 3), "without replacement: 3 > 2"),
        (lambda: torch.multinomial(torch.tensor([1.0, 0.0]), 2), "categories with a weight above 0"),
        (lambda: torch.empty(2).random_(3, 3), "'from' to be less than 'to'"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(RuntimeError, match=message):
        call()


def test_fork_rng():
    torch.manual_seed(1)
    with torch.random.fork_rng():
        torch.manual_seed(99)
        torch.rand(3)
    after = torch.rand(2)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(2), after)
