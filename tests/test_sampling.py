"""Samplers: reproducible from the seed, rightly distributed, clear about bad arguments."""

import math

import numpy as np
import pytest

import torchlite as torch
from torchlite.autograd import gradcheck
from torchlite.ops.dirichlet_gradient import beta_gradient
from torchlite.ops.gamma import _standard_gamma_grad
from torchlite.ops.variates import sample_dirichlet, standard_gamma, von_mises

N = 40_000


def full(value):
    return torch.full((N,), value, dtype=torch.float64)


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
    "huge poisson": lambda **k: torch.poisson(full(1e6), **k),
    "binomial": lambda **k: torch.binomial(full(20.0), full(0.3), **k),
    "large binomial": lambda **k: torch.binomial(full(300.0), full(0.7), **k),
    "huge binomial": lambda **k: torch.binomial(full(1e7), full(1e-6), **k),
    "gamma": lambda **k: standard_gamma(full(7.0), **k),
    "small gamma": lambda **k: standard_gamma(full(0.3), **k),
    "dirichlet": lambda **k: sample_dirichlet(torch.tensor([2.0, 0.5, 1.5]).expand(N, 3), **k)[:, 1],
    "cosines of von_mises": lambda **k: von_mises(full(2.0), **k).cos(),
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
    "huge poisson": (1e6, 1e3),
    "binomial": (6, math.sqrt(4.2)),
    "large binomial": (210, math.sqrt(63)),
    "huge binomial": (10, math.sqrt(10)),
    "gamma": (7, math.sqrt(7)),
    "small gamma": (0.3, math.sqrt(0.3)),
    "dirichlet": (1 / 8, math.sqrt(7 / 64 / 5)),
    "cosines of von_mises": (0.6977746579, 0.4055),
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


def binomial_pmf(n, p):
    ks = np.arange(n + 1)
    return np.array([math.comb(n, int(k)) * p**k * (1 - p) ** (n - k) for k in ks])


def poisson_pmf(rate, n):
    return np.array([math.exp(k * math.log(rate) - rate - math.lgamma(k + 1)) for k in range(n)])


# Distribution functions to hold the empirical ones against: of integers as a table from 0.
CONTINUOUS = {
    "exponential_": lambda x: 1 - np.exp(-2 * x),
    "cauchy_": lambda x: 0.5 + np.arctan((x - 1) / 2) / math.pi,
    "normal": lambda x: np.array([0.5 * math.erfc((2 - v) / 3 / math.sqrt(2)) for v in x]),
    "gamma": lambda x: 1 - np.exp(-x) * sum(x**k / math.factorial(k) for k in range(7)),
}
DISCRETE = {
    "binomial": lambda: binomial_pmf(20, 0.3),
    "large binomial": lambda: binomial_pmf(300, 0.7),
    "poisson": lambda: poisson_pmf(4.0, 60),
    "large poisson": lambda: poisson_pmf(40.0, 200),
    "geometric_": lambda: np.concatenate([[0.0], 0.3 * 0.7 ** np.arange(100)]),
}
KOLMOGOROV = 1.95 / math.sqrt(N)  # exceeded with a probability of 0.1 %


@pytest.mark.parametrize("name", CONTINUOUS)
def test_distribution_function(name):
    torch.manual_seed(12)
    x = np.sort(DRAWS[name]().double().numpy())
    expected = CONTINUOUS[name](x)
    assert np.abs(expected - (np.arange(N) + 0.5) / N).max() < KOLMOGOROV


@pytest.mark.parametrize("name", DISCRETE)
def test_distribution_of_integers(name):
    torch.manual_seed(12)
    expected = DISCRETE[name]()
    counts = np.bincount(DRAWS[name]().numpy().astype(int), minlength=len(expected))
    assert np.abs(np.cumsum(counts) / N - np.cumsum(expected)).max() < KOLMOGOROV


def test_numbers_do_not_depend_on_their_neighbours():
    rates = torch.tensor([0.5, 30.0, 1e6, 12.0], dtype=torch.float64)
    for draw in (torch.poisson, standard_gamma, lambda x: torch.binomial(x.floor(), x / 2e6), von_mises):
        torch.manual_seed(4)
        together = draw(rates)
        torch.manual_seed(4)
        assert draw(rates * torch.tensor([1, 1, 1, 0.5], dtype=torch.float64))[:3].tolist() == together[:3].tolist()
        state = torch.get_rng_state()
        torch.manual_seed(4)
        draw(rates.fill_(1.0) * 7)
        assert torch.equal(torch.get_rng_state(), state)
        rates = torch.tensor([0.5, 30.0, 1e6, 12.0], dtype=torch.float64)


def test_extreme_parameters():
    assert torch.binomial(full(0.0), full(0.5)).max() == 0
    assert torch.binomial(full(9.0), full(1.0)).min() == 9
    assert torch.binomial(full(9.0), full(0.0)).max() == 0
    tiny = np.finfo(np.float32).tiny
    assert standard_gamma(torch.tensor([0.0, 1e-8, math.inf])).tolist() == [tiny, tiny, math.inf]
    assert sample_dirichlet(torch.full((100, 3), 1e-4)).sum(-1).tolist() == pytest.approx([1.0] * 100)


def test_gradients_of_discrete_numbers_are_zero():
    p = torch.full((3,), 0.5, requires_grad=True)
    for draw in (torch.poisson, torch.bernoulli, lambda p: torch.binomial(p * 20, p), lambda p: torch.normal(p, p)):
        drawn = draw(p)
        assert drawn.requires_grad
        assert torch.autograd.grad(drawn.sum(), p)[0].tolist() == [0.0] * 3


def gamma_cdf(alpha, z):
    """The series of the lower incomplete gamma function."""
    term = np.exp(alpha * np.log(z) - z - math.lgamma(alpha + 1))
    total = term
    for n in range(1, 400):
        term = term * z / (alpha + n)
        total += term
    return total


@pytest.mark.parametrize("alpha", [0.03, 0.6, 1.0, 4.0, 60.0])
def test_gamma_samples_keep_their_quantile(alpha):
    for z in (0.01, 0.4, 1.0, alpha, 1.5 * alpha + 1):
        slope = _standard_gamma_grad(*torch.tensor([[alpha], [z]], dtype=torch.float64)).item()
        step = 1e-5 * alpha
        change = (gamma_cdf(alpha + step, z) - gamma_cdf(alpha - step, z)) / (2 * step)
        density = math.exp((alpha - 1) * math.log(z) - z - math.lgamma(alpha))
        assert slope == pytest.approx(-change / density, rel=1e-5, abs=1e-9 / density)


@pytest.mark.parametrize("a", [0.02, 0.7, 1.0, 3.0, 60.0])
def test_beta_samples_keep_their_quantile(a):
    # The distribution functions are x^a for b = 1 and (a + 1)·x^a - a·x^(a + 1) for b = 2.
    x = torch.tensor([1e-3, 0.2, 0.5, 0.9, 0.99], dtype=torch.float64)
    one, two = (beta_gradient(x, x * 0 + a, x * 0 + a + b) * (1 - x) for b in (1, 2))
    v = x.numpy()
    np.testing.assert_allclose(one.numpy(), -v * np.log(v) / a, rtol=1e-7)
    change = v**a + ((a + 1) * v**a - a * v ** (a + 1)) * np.log(v) - v ** (a + 1)
    np.testing.assert_allclose(two.numpy(), -change / (a * (a + 1) * (v ** (a - 1) - v**a)), rtol=1e-6)


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


def test_gradients_of_dirichlet_samples_can_be_differentiated_again():
    concentration = torch.tensor([0.4, 3.0, 1.5], dtype=torch.float64, requires_grad=True)
    x = torch.tensor([0.1, 0.7, 0.2], dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x, c: beta_gradient(x, c, c.sum(-1, True)), (x, concentration))


def test_gradients_of_gamma_samples_refuse_a_second_derivative():
    concentration = torch.tensor([2.0], requires_grad=True)
    (slope,) = torch.autograd.grad(standard_gamma(concentration), concentration, create_graph=True)
    with pytest.raises(RuntimeError, match="derivative of _standard_gamma_grad"):
        slope.backward()
