"""Samples of distributions: their moments, their gradients, their repetition."""

import math
import warnings

import numpy as np
import pytest

import torchlite as torch
from torchlite import distributions as d

N = 40_000
TWO = torch.tensor([0.6, 1.7], dtype=torch.float64)
FACTOR = torch.tensor([[1.0, 0.0], [-0.5, 0.8]], dtype=torch.float64)
HALF = torch.tensor(0.5, dtype=torch.float64)
FAMILIES = {
    "Bernoulli": lambda p: d.Bernoulli(p / 2),
    "Beta": lambda p: d.Beta(p, 2.0),
    "Binomial": lambda p: d.Binomial(12, p / 2),
    "Chi2": lambda p: d.Chi2(p * 4),
    "ContinuousBernoulli": lambda p: d.ContinuousBernoulli(p / 2),
    "Dirichlet": lambda p: d.Dirichlet(torch.stack([p, p * 3, 2 - p])),
    "Exponential": lambda p: d.Exponential(p),
    "FisherSnedecor": lambda p: d.FisherSnedecor(p * 10, 20.0),
    "Gamma": lambda p: d.Gamma(p, 2.0),
    "GeneralizedPareto": lambda p: d.GeneralizedPareto(1.0, p, 0.2),
    "Geometric": lambda p: d.Geometric(p / 2),
    "Gumbel": lambda p: d.Gumbel(p, 2.0),
    "HalfNormal": lambda p: d.HalfNormal(p),
    "Independent": lambda p: d.Independent(d.Normal(p.expand(3), 1.0), 1),
    "InverseGamma": lambda p: d.InverseGamma(p * 10, 2.0),
    "Kumaraswamy": lambda p: d.Kumaraswamy(p + 1, 2.0),
    "Laplace": lambda p: d.Laplace(p, 2.0),
    "LogNormal": lambda p: d.LogNormal(p, 0.5),
    "LowRankMultivariateNormal": lambda p: d.LowRankMultivariateNormal(TWO * p, FACTOR[:, :1] * p, TWO),
    "MixtureSameFamily": lambda p: d.MixtureSameFamily(d.Categorical(TWO), d.Normal(TWO * 3, p)),
    "Multinomial": lambda p: d.Multinomial(5, torch.stack([p, p * 3, 2 - p])),
    "MultivariateNormal": lambda p: d.MultivariateNormal(TWO, scale_tril=FACTOR * p),
    "NegativeBinomial": lambda p: d.NegativeBinomial(3.5, p / 2),
    "Normal": lambda p: d.Normal(p, 2.0),
    "OneHotCategorical": lambda p: d.OneHotCategorical(torch.stack([p, p * 3])),
    "Pareto": lambda p: d.Pareto(p, 7.0),
    "Poisson": lambda p: d.Poisson(p * 20),
    "StudentT": lambda p: d.StudentT(10.0, p, 2.0),
    "Uniform": lambda p: d.Uniform(-p, p),
    "Weibull": lambda p: d.Weibull(p, 2.0),
    "Wishart": lambda p: d.Wishart(5.0, scale_tril=FACTOR * p),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_moments_and_repetition(name):
    distribution = FAMILIES[name](torch.tensor(0.7, dtype=torch.float64))
    torch.manual_seed(3)
    x = distribution.sample((N,))
    torch.manual_seed(3)
    assert torch.equal(distribution.sample((N,)), x)
    assert x.shape == (N, *distribution.batch_shape, *distribution.event_shape)
    assert ((x.mean(0) - distribution.mean).abs() <= distribution.stddev * 5 / math.sqrt(N)).all()
    assert ((x.var(0) / distribution.variance - 1).abs() < 0.1).all()
    assert distribution.support.check(x).all()


@pytest.mark.parametrize("name", [n for n in FAMILIES if FAMILIES[n](HALF).has_rsample])
def test_rsample_moves_with_the_parameters(name):
    p = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(3)
    sampled = torch.autograd.grad(FAMILIES[name](p).rsample((N,)).square().sum() / N, p)[0].item()
    distribution = FAMILIES[name](p)
    exact = torch.autograd.grad((distribution.variance + distribution.mean**2).sum(), p)[0].item()
    assert sampled == pytest.approx(exact, rel=0.1, abs=0.05)


# Without moments, or with moments in closed form only of something else.
DENSITIES = {
    "Cauchy": lambda: d.Cauchy(0.5, 2.0),
    "HalfCauchy": lambda: d.HalfCauchy(2.0),
    "StudentT": lambda: d.StudentT(0.7, 1.0, 2.0),
    "VonMises": lambda: d.VonMises(1.0, 2.5),
    "VonMises nearly uniform": lambda: d.VonMises(-2.0, 1e-3),
    "RelaxedBernoulli": lambda: d.RelaxedBernoulli(HALF, 0.3 * torch.ones((), dtype=torch.float64)),
    "Gamma": lambda: d.Gamma(0.4, 1.5),
    "Beta": lambda: d.Beta(0.5, 1.5),
    "Pareto": lambda: d.Pareto(2.0, 0.9),
    "GeneralizedPareto": lambda: d.GeneralizedPareto(0.0, 1.0, 0.0),
}
EDGES = {
    "VonMises": np.linspace(-3.0, 3.0, 7),
    "Pareto": np.linspace(2.0, 9.0, 8),
    "RelaxedBernoulli": np.linspace(0.1, 0.9, 9),
}


@pytest.mark.parametrize("name", DENSITIES)
def test_samples_fall_where_the_density_is(name):
    distribution = DENSITIES[name]()
    kind = name.split()[0]
    edges = EDGES.get(kind, np.linspace(0.05, 0.95, 10) if kind == "Beta" else np.linspace(0.1, 4.0, 9))
    torch.manual_seed(6)
    x = distribution.sample((N,)).double().numpy()
    counts = np.histogram(x, edges)[0] / N
    for low, high, share in zip(edges, edges[1:], counts, strict=False):
        points, weights = np.polynomial.legendre.leggauss(24)
        places = (high - low) / 2 * points + (high + low) / 2
        density = distribution.log_prob(torch.tensor(places, dtype=x_dtype(distribution))).exp().double().numpy()
        expected = (weights * density).sum() * (high - low) / 2
        assert abs(share - expected) < 5 * math.sqrt(expected / N) + 1e-3


def x_dtype(distribution):
    return distribution.sample().dtype


def test_correlation_factors():
    torch.manual_seed(2)
    distribution = d.LKJCholesky(4, torch.tensor(1.5, dtype=torch.float64))
    factors = distribution.sample((20_000,))
    assert distribution.support.check(factors).all()
    # Marginally (r + 1) / 2 is a beta number of concentrations η - 1 + n/2.
    r = (factors @ factors.mT)[:, [1, 2, 3, 3], [0, 1, 0, 2]]
    expected = d.Beta(2.5, 2.5)
    assert ((((r + 1) / 2).mean(0) - 0.5).abs() < 0.01).all()
    assert ((((r + 1) / 2).var(0) / expected.variance - 1).abs() < 0.05).all()


def test_points_of_the_simplex():
    torch.manual_seed(2)
    for distribution in (
        d.LogisticNormal(torch.zeros(3), torch.ones(3)),
        d.RelaxedOneHotCategorical(HALF, torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)),
        d.Dirichlet(torch.full((4,), 1e-2)),
    ):
        x = distribution.rsample((500,)).double()
        assert (x.sum(-1) - 1).abs().max() < 1e-5
        assert (x >= 0).all()


def test_straight_through_samples_are_one_hot_and_have_the_gradients_of_probabilities():
    logits = torch.tensor([0.5, -1.0, 0.2], requires_grad=True)
    weights = torch.tensor([1.0, 2.0, 3.0])
    torch.manual_seed(1)
    x = d.OneHotCategoricalStraightThrough(logits=logits).rsample()
    assert sorted(x.detach().round().tolist()) == [0, 0, 1]
    (through,) = torch.autograd.grad((x * weights).sum(), logits)
    (plain,) = torch.autograd.grad((torch.softmax(logits, -1) * weights).sum(), logits)
    assert torch.allclose(through, plain)


def test_categorical_frequencies():
    torch.manual_seed(1)
    drawn = d.Categorical(probs=torch.tensor([[0.1, 0.9], [0.5, 0.5]])).sample((N,))
    assert (drawn.double().mean(0) - torch.tensor([0.9, 0.5], dtype=torch.float64)).abs().max() < 0.02


def test_singular_wishart_samples_are_drawn_again():
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        distribution = d.Wishart(torch.tensor([2.05, 9.0]), torch.eye(3))
        x = distribution.sample((2000,))
    assert distribution.support.check(x).double().mean() > 0.99
    with pytest.warns(UserWarning, match="Low df values"):
        d.Wishart(2.5, torch.eye(3))


def test_samples_have_no_history():
    p = torch.tensor(0.7, requires_grad=True)
    assert not d.Normal(p, 1.0).sample().requires_grad
    assert d.Normal(p, 1.0).rsample().requires_grad


def test_lazy_parameters_keep_their_history_where_gradients_were_off():
    p = torch.tensor([0.2, 0.7], requires_grad=True)
    distribution = d.Bernoulli(probs=p)
    with torch.no_grad():
        distribution.entropy()
    distribution.log_prob(torch.ones(2)).sum().backward()
    assert p.grad.tolist() == pytest.approx([5.0, 1 / 0.7])


def test_a_subclass_expands_with_what_it_adds():
    class Shifted(d.Normal):
        def __init__(self, loc, scale, shift):
            self.shift = shift
            super().__init__(loc, scale)

        def expand(self, batch_shape, _instance=None):
            new = self._get_checked_instance(Shifted, _instance)
            new.shift = self.shift.expand(batch_shape)
            return super().expand(batch_shape, new)

    wide = Shifted(torch.zeros(3), torch.ones(3), torch.arange(3.0)).expand((2, 3))
    assert isinstance(wide, Shifted)
    assert (wide.shift.shape, wide.loc.shape, wide.batch_shape) == ((2, 3), (2, 3), (2, 3))

    class Unprepared(d.Normal):
        def __init__(self):
            super().__init__(0.0, 1.0)

        def expand(self, batch_shape, _instance=None):
            return super().expand(batch_shape, self._get_checked_instance(d.Normal, _instance))

    with pytest.raises(NotImplementedError, match=r"Subclass Unprepared of Normal .* custom \.expand"):
        Unprepared().expand((2,))


def test_a_family_of_one_s_own_is_told_what_it_lacks():
    class Bare(d.Distribution):
        pass

    with pytest.warns(UserWarning, match="does not define `arg_constraints`"):
        bare = Bare()

    class Parametrised(d.Distribution):
        arg_constraints = {"a": d.constraints.positive}  # noqa: RUF012

        def __init__(self):
            self.a = torch.ones(2)
            super().__init__((2,))

    assert str(Parametrised()) == "Parametrised(a: torch.Size([2]))"
    with pytest.warns(UserWarning, match="does not define `support`"):
        Parametrised()._validate_sample(torch.ones(2))
    for what in ("mean", "variance", "mode", "support", "stddev"):
        with pytest.raises(NotImplementedError, match=r"Bare does not implement"):
            getattr(bare, what)
    with pytest.warns(FutureWarning, match="sample_n"):
        assert d.Normal(0.0, 1.0).sample_n(3).shape == (3,)


def test_validation_can_be_switched_off_for_all():
    try:
        d.Distribution.set_default_validate_args(False)
        assert d.Normal(0.0, -1.0).scale.item() == -1
        with pytest.raises(ValueError, match="parameter scale"):
            d.Normal(0.0, -1.0, validate_args=True)
    finally:
        d.Distribution.set_default_validate_args(True)


def test_ambiguous_divergences_are_named():
    class A(d.Normal):
        pass

    class B(d.Normal):
        pass

    rules = dict(d.kl.registry._RULES)
    try:
        d.register_kl(A, d.Normal)(lambda p, q: "left")
        d.register_kl(d.Normal, B)(lambda p, q: "right")
        assert d.kl_divergence(A(0.0, 1.0), d.Normal(0.0, 1.0)) == "left"
        with pytest.warns(RuntimeWarning, match=r"Ambiguous kl_divergence\(A, B\)"):
            assert d.kl_divergence(A(0.0, 1.0), B(0.0, 1.0)) == "left"
    finally:
        d.kl.registry._RULES.clear()
        d.kl.registry._RULES.update(rules)
        d.kl.registry._FOUND.clear()
    with pytest.raises(TypeError, match="type_p to be a Distribution subclass"):
        d.register_kl(int, d.Normal)


def test_errors_name_parameter_and_values():
    with pytest.raises(ValueError, match=r"parameter scale .* of distribution Normal.*\n.*-1"):
        d.Normal(0.0, -1.0)
    with pytest.raises(ValueError, match=r"within the support \(GreaterThanEq\(lower_bound=0.0\)\)"):
        d.Exponential(1.0).log_prob(torch.tensor(-1.0))
    with pytest.raises(NotImplementedError, match="p type Normal and q type Cauchy"):
        d.kl_divergence(d.Normal(0.0, 1.0), d.Cauchy(0.0, 1.0))


def test_distributions_on_the_meta_device():
    loc = torch.zeros(3, device="meta")
    distribution = d.Normal(loc, loc + 1)
    assert distribution.sample((2,)).is_meta
    assert distribution.log_prob(loc).shape == (3,)
    assert d.Gamma(loc + 1, loc + 1).rsample((4,)).shape == (4, 3)
