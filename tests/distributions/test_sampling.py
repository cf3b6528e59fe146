"""Samples of distributions: their moments, their gradients, their repetition."""

import math

import pytest

import torchlite as torch
from torchlite import distributions as d

N = 40_000
FAMILIES = {
    "Normal": lambda p: d.Normal(p, 2.0),
    "HalfNormal": lambda p: d.HalfNormal(p),
    "LogNormal": lambda p: d.LogNormal(p, 0.5),
    "Uniform": lambda p: d.Uniform(-p, p),
    "Exponential": lambda p: d.Exponential(p),
    "Laplace": lambda p: d.Laplace(p, 2.0),
    "Bernoulli": lambda p: d.Bernoulli(p / 2),
    "Geometric": lambda p: d.Geometric(p / 2),
    "OneHotCategorical": lambda p: d.OneHotCategorical(torch.stack([p, p * 3])),
    "Independent": lambda p: d.Independent(d.Normal(p.expand(3), 1.0), 1),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_moments_and_repetition(name):
    distribution = FAMILIES[name](torch.tensor(0.7, dtype=torch.float64))
    torch.manual_seed(3)
    x = distribution.sample((N,))
    torch.manual_seed(3)
    assert torch.equal(distribution.sample((N,)), x)
    assert x.shape == (N, *distribution.batch_shape, *distribution.event_shape)
    assert ((x.mean(0) - distribution.mean).abs() < distribution.stddev * 5 / math.sqrt(N)).all()
    assert ((x.var(0) / distribution.variance - 1).abs() < 0.1).all()
    assert distribution.support.check(x).all()


@pytest.mark.parametrize("name", [n for n in FAMILIES if FAMILIES[n](torch.tensor(0.7)).has_rsample])
def test_rsample_gradient_is_that_of_the_mean(name):
    p = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(3)
    (sampled,) = torch.autograd.grad(FAMILIES[name](p).rsample((N,)).sum() / N + 0 * p, p)
    mean = FAMILIES[name](p).mean.sum() + 0 * p
    (exact,) = torch.autograd.grad(mean, p)
    assert abs(sampled.item() - exact.item()) < 0.05


def test_categorical_frequencies():
    torch.manual_seed(1)
    drawn = d.Categorical(probs=torch.tensor([[0.1, 0.9], [0.5, 0.5]])).sample((N,))
    assert (drawn.double().mean(0) - torch.tensor([0.9, 0.5], dtype=torch.float64)).abs().max() < 0.02


def test_samples_have_no_history():
    p = torch.tensor(0.7, requires_grad=True)
    assert not d.Normal(p, 1.0).sample().requires_grad
    assert d.Normal(p, 1.0).rsample().requires_grad


def test_errors_name_parameter_and_values():
    with pytest.raises(ValueError, match=r"parameter scale .* of distribution Normal.*\n.*-1"):
        d.Normal(0.0, -1.0)
    with pytest.raises(ValueError, match=r"within the support \(GreaterThanEq\(lower_bound=0.0\)\)"):
        d.Exponential(1.0).log_prob(torch.tensor(-1.0))
    with pytest.raises(NotImplementedError, match="p type Normal and q type Cauchy"):
        d.kl_divergence(d.Normal(0.0, 1.0), d.Cauchy(0.0, 1.0))
