"""Distributions beside PyTorch's: everything that is a function of parameters and values, with gradients."""

import warnings

import numpy as np
import pytest
from oracle import attempt, same, tensors
from parity.distribution_examples import EXAMPLES

torch = pytest.importorskip("torch")
torchlite = pytest.importorskip("torchlite")

# PyTorch has no derivative of the incomplete gamma function by its first argument, and so by these parameters.
CONSTANT_FOR_CDF = ("Chi2", "Gamma", "InverseGamma")
# PyTorch's polynomials for Bessel functions are good for seven digits; the other example is in float32.
TOLERANCE = {"VonMises": 1e-6, "GeneralizedPareto": 1e-5}
SYMMETRIC = ("Wishart", "MultivariateNormal", "MultivariateNormal of precision")


def sampled(name, *sample_shape):
    """Values that PyTorch draws from an example."""
    make, arrays = EXAMPLES[name]
    torch.manual_seed(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make(torch, torch.distributions, *map(torch.tensor, arrays)).sample(sample_shape).numpy()


def made(name, t, arrays):
    make, _ = EXAMPLES[name]
    # Of symmetric parameters Cholesky reads one triangle, and the gradients are compared as those of symmetric matrices.
    arrays = [(x + x.mT) / 2 if name in SYMMETRIC and x.ndim > 1 and x.shape[-1] == x.shape[-2] else x for x in arrays]
    return make(t, t.distributions, *arrays)


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("sample_shape", [(), (2,)])
def test_log_prob(name, sample_shape):
    same(
        lambda t, v, *ps: made(name, t, ps).log_prob(v),
        sampled(name, *sample_shape),
        *EXAMPLES[name][1],
        tolerance=TOLERANCE.get(name, 1e-8),
    )


def asked(what):
    """A call of a property or method of a distribution."""
    return lambda d: value() if callable(value := getattr(d, what)) else value


QUESTIONS = {
    **{what: asked(what) for what in ("mean", "variance", "stddev", "mode", "entropy", "perplexity")},
    **{
        what: asked(what)
        for what in ("param_shape", "batch_shape", "event_shape", "has_rsample", "has_enumerate_support")
    },
    **{what: asked(what) for what in ("covariance_matrix", "precision_matrix", "scale_tril", "probs", "logits", "df")},
    **{what: asked(what) for what in ("loc", "scale", "rate", "concentration", "concentration1", "temperature")},
    "values": lambda d: d.enumerate_support(),
    "values of one": lambda d: d.enumerate_support(expand=False),
    "support": lambda d: [d.support.is_discrete, d.support.event_dim, type(d.support).__name__],
    "shapes": lambda d: [list(d.sample().shape), list(d.sample((4, 2)).shape), str(d.sample().dtype)[-7:]],
    "gradient shapes": lambda d: [list((x := d.rsample((2,))).shape), x.requires_grad, d.sample().requires_grad],
    "wider": lambda d: [(w := d.expand((2, 5, *d.batch_shape))).batch_shape, w.sample((3,)).shape, w.event_shape],
    "moments of wider": lambda d: [d.expand((2, *d.batch_shape)).mean, d.expand((2, *d.batch_shape)).variance],
}


def answer(question, d):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = question(d)
    # Whether a gradient is wanted of a mode that is 0 everywhere is not a question.
    return [tuple(v) if isinstance(v, tuple) else v for v in (value if isinstance(value, list) else [value])]


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("what", QUESTIONS)
def test_properties(name, what):
    question = QUESTIONS[what]
    _, theirs = attempt(lambda t: answer(question, made(name, t, [tensors(a)[1] for a in EXAMPLES[name][1]])), torch)
    if isinstance(theirs, AttributeError):
        return
    if theirs is not None:
        with pytest.raises(type(theirs)):
            answer(question, made(name, torchlite, [tensors(a)[0] for a in EXAMPLES[name][1]]))
        return
    detached = (lambda v: v.detach() if hasattr(v, "detach") else v) if what == "mode" else lambda v: v
    same(lambda t, *ps: [detached(v) for v in answer(question, made(name, t, ps))], *EXAMPLES[name][1], tolerance=1e-6)


@pytest.mark.parametrize("name", EXAMPLES)
def test_cdf(name):
    values = sampled(name, 2)
    constant = (lambda p: p.detach()) if name in CONSTANT_FOR_CDF else lambda p: p
    same(
        lambda t, v, *ps: made(name, t, map(constant, ps)).cdf(v),
        values,
        *EXAMPLES[name][1],
        tolerance=TOLERANCE.get(name, 1e-8),
    )


@pytest.mark.parametrize("name", EXAMPLES)
def test_icdf(name):
    shape = np.array(sampled(name)).shape
    u = np.random.default_rng(2).uniform(0.05, 0.95, size=shape)
    same(lambda t, v, *ps: made(name, t, ps).icdf(v), u, *EXAMPLES[name][1], tolerance=TOLERANCE.get(name, 1e-8))


SINGLE = ["Bernoulli", "Beta", "ContinuousBernoulli of logits", "Exponential", "Gamma", "Gumbel", "HalfNormal",
          "InverseGamma", "Laplace", "LogNormal", "Normal", "Pareto", "Poisson", "Uniform", "Cauchy", "Chi2",
          "Geometric", "Weibull", "HalfCauchy", "Kumaraswamy", "VonMises", "StudentT"]  # fmt: skip
VECTORS = ["Categorical", "OneHotCategorical", "Dirichlet", "Independent", "Independent of all", "LogisticNormal",
           "LowRankMultivariateNormal", "LowRankMultivariateNormal in batches", "MultivariateNormal",
           "MultivariateNormal of precision", "MultivariateNormal of factor", "Binomial", "Wishart", "Multinomial",
           "MixtureSameFamily", "TransformedDistribution", "RelaxedBernoulli"]  # fmt: skip


def divergence(t, p, q):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return t.distributions.kl_divergence(p, q)


@pytest.mark.parametrize("first", SINGLE)
@pytest.mark.parametrize("second", SINGLE)
def test_divergences_of_single_numbers(first, second):
    arrays = [a.reshape(-1)[:3].copy() for name in (first, second) for a in EXAMPLES[name][1]]
    n = len(EXAMPLES[first][1])
    same(lambda t, *ps: divergence(t, made(first, t, ps[:n]), made(second, t, ps[n:])), *arrays, tolerance=1e-8)


@pytest.mark.parametrize("name", VECTORS)
def test_divergences_within_a_family(name):
    parameters = EXAMPLES[name][1]
    others = [p[::-1].copy() if p.shape[0] != p.shape[-1] else p * 1.3 for p in parameters]
    n = len(parameters)
    # PyTorch's has no gradient by p for Wishart distributions.
    seen = (lambda kl: kl.detach()) if name == "Wishart" else lambda kl: kl
    same(
        lambda t, *ps: seen(divergence(t, made(name, t, ps[:n]), made(name, t, ps[n:]))),
        *parameters,
        *others,
        tolerance=1e-8,
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [("MultivariateNormal", "LowRankMultivariateNormal"), ("LowRankMultivariateNormal", "MultivariateNormal")],
)
def test_divergences_of_normal_vectors(first, second):
    n = len(EXAMPLES[first][1])
    same(
        lambda t, *ps: divergence(t, made(first, t, ps[:n]), made(second, t, ps[n:])),
        *EXAMPLES[first][1],
        *EXAMPLES[second][1],
        tolerance=1e-8,
    )


UNIFORMS = [(0.2, 0.7), (-0.5, 0.5), (0.0, 1.0), (0.5, 1.5), (-1.0, 2.0), (1.5, 4.0)]


@pytest.mark.parametrize(
    "name", ["Beta", "ContinuousBernoulli", "Exponential", "Gamma", "Gumbel", "Normal", "Pareto", "Uniform"]
)
def test_divergences_of_uniforms_by_where_they_lie(name):
    make, parameters = EXAMPLES[name]
    low, high = np.array(UNIFORMS).T.astype(np.float32)
    own = [np.full(len(low), 1.2, np.float32) if name != "ContinuousBernoulli" else np.float32(0.3) for _ in parameters]

    def both(t, low, high, *ps):
        uniform, other = t.distributions.Uniform(low, high), make(t, t.distributions, *ps)
        results = [divergence(t, uniform, other)]
        if name in ("Beta", "ContinuousBernoulli", "Uniform"):
            results.append(divergence(t, other, uniform))
        return results

    same(both, low, high, *own, tolerance=1e-5)


def test_the_same_pairs_are_registered():
    from torchlite.distributions.kl.registry import _RULES

    names = {(p.__name__, q.__name__) for p, q in _RULES}
    theirs = {(p.__name__, q.__name__) for p, q in torch.distributions.kl._KL_REGISTRY}
    assert names - {("Wishart", "Wishart")} == theirs


def test_the_same_names_are_public():
    for path in ("", "constraints", "transforms", "kl"):
        ours, theirs = (getattr(t.distributions, path) if path else t.distributions for t in (torchlite, torch))
        assert [n for n in theirs.__all__ if not hasattr(ours, n)] == []


def test_slopes_of_samples():
    """PyTorch's are approximations, good for three digits."""
    from torchlite.ops.dirichlet_gradient import beta_gradient
    from torchlite.ops.gamma import _standard_gamma_grad

    rng = np.random.default_rng(8)
    a, b = np.exp(rng.normal(size=(2, 200)) * 1.5)
    z, x = rng.gamma(a), np.clip(rng.beta(a, b), 1e-12, 1 - 1e-12)
    for ours, theirs in (
        (_standard_gamma_grad, torch._standard_gamma_grad),
        (lambda a, x: beta_gradient(x, a, a + torchlite.tensor(b)), lambda a, x: torch._dirichlet_grad(x, a, a + torch.tensor(b))),
    ):  # fmt: skip
        value = z if ours is _standard_gamma_grad else x
        got = ours(torchlite.tensor(a), torchlite.tensor(value)).numpy()
        np.testing.assert_allclose(got, theirs(torch.tensor(a), torch.tensor(value)).numpy(), rtol=3e-3)


class Made:
    """A family of a user's own: the exponential distribution, as an exponential family and nothing else."""

    @staticmethod
    def by(t, rate):
        class Own(t.distributions.ExponentialFamily):
            arg_constraints = dict(rate=t.distributions.constraints.positive)  # noqa: C408, RUF012
            support = t.distributions.constraints.nonnegative
            _mean_carrier_measure = 0

            def __init__(self, rate):
                self.rate = rate
                super().__init__(rate.shape)

            @property
            def _natural_params(self):
                return (-self.rate,)

            def _log_normalizer(self, x):
                return -(-x).log()

        return Own(rate)


def test_exponential_families():
    def results(t, a, b):
        p = Made.by(t, a)
        q = object.__new__(type(p))
        q.__init__(b)
        return p.entropy().detach(), t.distributions.kl_divergence(p, q).detach(), str(p)[:4]

    same(results, *[np.exp(np.random.default_rng(3).normal(size=3)) for _ in range(2)])


@pytest.mark.parametrize(
    "call",
    [
        lambda t, a: t.distributions.Normal(a, -1.0),
        lambda t, a: t.distributions.Normal(a, 1.0).log_prob(t.tensor([1.0, 2.0])),
        lambda t, a: t.distributions.Normal(a, 1.0).log_prob(1.0),
        lambda t, a: t.distributions.Normal(a, 1.0, validate_args=False).log_prob(1.0),
        lambda t, a: t.distributions.Normal(a, -1.0, validate_args=False).mean,
        lambda t, a: t.distributions.Normal(a, "1"),
        lambda t, a: t.distributions.Normal(a, t.ones(2)),
        lambda t, a: t.distributions.Normal(a * float("nan"), 1.0),
        lambda t, a: t.distributions.Uniform(a, a),
        lambda t, a: t.distributions.Bernoulli(a),
        lambda t, a: t.distributions.Bernoulli(),
        lambda t, a: t.distributions.Bernoulli(a.sigmoid(), logits=a),
        lambda t, a: t.distributions.Bernoulli(a.sigmoid()).log_prob(a),
        lambda t, a: t.distributions.Geometric(t.tensor([0.0, 0.5])),
        lambda t, a: t.distributions.Categorical(probs=a),
        lambda t, a: t.distributions.Categorical(probs=t.tensor(0.5)),
        lambda t, a: t.distributions.Categorical(logits=a).log_prob(t.tensor(3)),
        lambda t, a: t.distributions.Dirichlet(t.tensor(1.0)),
        lambda t, a: t.distributions.Dirichlet(a.exp()).log_prob(a),
        lambda t, a: t.distributions.Exponential(1.0).log_prob(a),
        lambda t, a: t.distributions.Independent(t.distributions.Normal(a, 1.0), 2),
        lambda t, a: t.distributions.Independent(t.distributions.Bernoulli(a.sigmoid()), 1).enumerate_support(),
        lambda t, a: t.distributions.Multinomial(a, a.exp()),
        lambda t, a: t.distributions.Binomial(t.tensor([2.0, 3.0, 4.0]), a.sigmoid()).entropy(),
        lambda t, a: t.distributions.MultivariateNormal(a),
        lambda t, a: t.distributions.MultivariateNormal(a[0], t.eye(3)),
        lambda t, a: t.distributions.MultivariateNormal(a, a),
        lambda t, a: t.distributions.MultivariateNormal(a, t.eye(3) - 2),
        lambda t, a: t.distributions.MultivariateNormal(a, scale_tril=t.ones(3, 3)),
        lambda t, a: t.distributions.LowRankMultivariateNormal(a, t.ones(2, 1), a.exp()),
        lambda t, a: t.distributions.LowRankMultivariateNormal(a, t.ones(3, 1), t.ones(2)),
        lambda t, a: t.distributions.LowRankMultivariateNormal(t.ones(2, 3), t.ones(4, 3, 1), a.exp()),
        lambda t, a: t.distributions.Wishart(1.5, t.eye(3)),
        lambda t, a: t.distributions.Wishart(4.0),
        lambda t, a: t.distributions.LKJCholesky(1),
        lambda t, a: t.distributions.MixtureSameFamily(a, t.distributions.Normal(a, 1.0)),
        lambda t, a: t.distributions.MixtureSameFamily(t.distributions.Categorical(logits=a), a),
        lambda t, a: t.distributions.MixtureSameFamily(
            t.distributions.Categorical(logits=a), t.distributions.Normal(t.ones(2), 1.0)
        ),
        lambda t, a: t.distributions.TransformedDistribution(t.distributions.Normal(a, 1.0), [1]),
        lambda t, a: t.distributions.TransformedDistribution(
            t.distributions.Normal(0.0, 1.0), t.distributions.StickBreakingTransform()
        ),
        lambda t, a: t.distributions.kl_divergence(t.distributions.Normal(a, 1.0), t.distributions.Bernoulli(logits=a)),
        lambda t, a: t.distributions.kl_divergence(
            t.distributions.MultivariateNormal(a, t.eye(3)), t.distributions.MultivariateNormal(a[:2], t.eye(2))
        ),
        lambda t, a: t.distributions.Distribution(validate_args=False).sample(),
        lambda t, a: t.distributions.Distribution.set_default_validate_args(3),
        lambda t, a: t.distributions.AffineTransform(0, 1, cache_size=2),
    ],
)
def test_same_errors(call):
    same(call, np.array([0.5, -1.5, 2.0], np.float32))
