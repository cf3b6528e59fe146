"""Parameters for every family of ``torch.distributions``: a constructor and the float64 arrays it takes.

``d`` is the distributions package of either library, ``t`` the library.
"""

import numpy as np

rng = np.random.default_rng(20)


def real(*shape):
    return rng.normal(size=shape)


def positive(*shape):
    return np.exp(rng.normal(size=shape))


def unit(*shape):
    return rng.uniform(0.1, 0.9, size=shape)


def rows(*shape):
    p = rng.uniform(0.1, 1.0, size=shape)
    return p / p.sum(-1, keepdims=True)


def factors(*shape):
    n = shape[-1]
    return np.tril(rng.normal(size=shape), -1) + np.eye(n) * rng.uniform(0.5, 2.0, size=(*shape[:-1], 1))


def matrices(*shape):
    f = factors(*shape)
    return f @ np.swapaxes(f, -1, -2)


EXAMPLES = {
    "Bernoulli": (lambda t, d, p: d.Bernoulli(p), [unit(3)]),
    "Bernoulli of logits": (lambda t, d, x: d.Bernoulli(logits=x), [real(2, 3)]),
    "Bernoulli certain": (lambda t, d, p: d.Bernoulli(p), [np.array([0.0, 1.0, 0.5])]),
    "Beta": (lambda t, d, a, b: d.Beta(a, b), [positive(2, 3), positive(2, 3)]),
    "Beta of a number": (lambda t, d, a: d.Beta(a, 2.5), [positive(4)]),
    "Binomial": (lambda t, d, p: d.Binomial(10, p), [unit(2, 3)]),
    "Binomial of logits": (lambda t, d, x: d.Binomial(t.tensor([4.0, 7.0, 2.0]), logits=x), [real(3)]),
    "Categorical": (lambda t, d, p: d.Categorical(p * 2), [rows(2, 3)]),
    "Categorical of logits": (lambda t, d, x: d.Categorical(logits=x), [real(4)]),
    "Cauchy": (lambda t, d, a, b: d.Cauchy(a, b), [real(3), positive(3)]),
    "Chi2": (lambda t, d, a: d.Chi2(a), [positive(2, 3)]),
    "ContinuousBernoulli": (lambda t, d, p: d.ContinuousBernoulli(p), [np.array([0.2, 0.7, 0.4995, 0.5, 0.51])]),
    "ContinuousBernoulli of logits": (lambda t, d, x: d.ContinuousBernoulli(logits=x), [real(3)]),
    "Dirichlet": (lambda t, d, a: d.Dirichlet(a), [positive(2, 3)]),
    "Dirichlet of small": (lambda t, d, a: d.Dirichlet(a), [np.array([0.5, 0.2, 0.9])]),
    "Exponential": (lambda t, d, a: d.Exponential(a), [positive(3, 2)]),
    "FisherSnedecor": (lambda t, d, a, b: d.FisherSnedecor(a, b), [positive(4) * 3, positive(4) * 4]),
    "Gamma": (lambda t, d, a, b: d.Gamma(a, b), [positive(2, 3), positive(2, 3)]),
    "GeneralizedPareto": (
        lambda t, d, a, b, c: d.GeneralizedPareto(a, b, c),
        # PyTorch's compares a float64 concentration with a float32 zero, and fails.
        [x.astype(np.float32) for x in (real(5), positive(5), np.array([-0.5, 0.3, 0.7, 1.5, 0.0]))],
    ),
    "Geometric": (lambda t, d, p: d.Geometric(p), [unit(3)]),
    "Geometric of logits": (lambda t, d, x: d.Geometric(logits=x), [real(3)]),
    "Gumbel": (lambda t, d, a, b: d.Gumbel(a, b), [real(3), positive(3)]),
    "HalfCauchy": (lambda t, d, b: d.HalfCauchy(b), [positive(3)]),
    "HalfNormal": (lambda t, d, b: d.HalfNormal(b), [positive(2, 3)]),
    "Independent": (lambda t, d, a, b: d.Independent(d.Normal(a, b), 1), [real(2, 3), positive(2, 3)]),
    "Independent of all": (lambda t, d, a, b: d.Independent(d.Normal(a, b), 2), [real(2, 3), positive(2, 3)]),
    "Independent of none": (lambda t, d, p: d.Independent(d.Bernoulli(p), 0), [unit(3)]),
    "InverseGamma": (lambda t, d, a, b: d.InverseGamma(a, b), [positive(4) * 2, positive(4)]),
    "Kumaraswamy": (lambda t, d, a, b: d.Kumaraswamy(a, b), [positive(3) + 0.5, positive(3) + 0.5]),
    "LKJCholesky": (lambda t, d, a: d.LKJCholesky(3, a), [positive(3)]),
    "Laplace": (lambda t, d, a, b: d.Laplace(a, b), [real(3), positive(3)]),
    "LogNormal": (lambda t, d, a, b: d.LogNormal(a, b), [real(3), positive(3)]),
    "LogisticNormal": (lambda t, d, a, b: d.LogisticNormal(a, b), [real(2, 3), positive(2, 3)]),
    "LowRankMultivariateNormal": (
        lambda t, d, a, w, c: d.LowRankMultivariateNormal(a, w, c),
        [real(4, 3), real(3, 2), positive(3)],
    ),
    "LowRankMultivariateNormal in batches": (
        lambda t, d, a, w, c: d.LowRankMultivariateNormal(a, w, c),
        [real(3), real(2, 3, 1), positive(2, 3)],
    ),
    "MixtureSameFamily": (
        lambda t, d, p, a, b: d.MixtureSameFamily(d.Categorical(p), d.Normal(a, b)),
        [rows(2, 3), real(2, 3), positive(2, 3)],
    ),
    "MixtureSameFamily of vectors": (
        lambda t, d, p, a, b: d.MixtureSameFamily(d.Categorical(p), d.Independent(d.Normal(a, b), 1)),
        [rows(3), real(3, 2), positive(3, 2)],
    ),
    "Multinomial": (lambda t, d, p: d.Multinomial(6, p), [rows(2, 3)]),
    "Multinomial of logits": (lambda t, d, x: d.Multinomial(4, logits=x), [real(3)]),
    "MultivariateNormal": (lambda t, d, a, c: d.MultivariateNormal(a, c), [real(4, 3), matrices(3, 3)]),
    "MultivariateNormal of precision": (
        lambda t, d, a, c: d.MultivariateNormal(a, precision_matrix=c),
        [real(2, 3), matrices(3, 3)],
    ),
    "MultivariateNormal of factor": (
        lambda t, d, a, c: d.MultivariateNormal(a, scale_tril=c.tril()),
        [real(3, 2), factors(3, 2, 2)],
    ),
    "NegativeBinomial": (lambda t, d, p: d.NegativeBinomial(5.0, p), [unit(2, 3)]),
    "NegativeBinomial of logits": (lambda t, d, n, x: d.NegativeBinomial(n, logits=x), [positive(3), real(3)]),
    "Normal": (lambda t, d, a, b: d.Normal(a, b), [real(2, 3), positive(3)]),
    "Normal of a number": (lambda t, d, a: d.Normal(a, 1.5), [real(3)]),
    "OneHotCategorical": (lambda t, d, p: d.OneHotCategorical(p), [rows(2, 3)]),
    "OneHotCategoricalStraightThrough": (lambda t, d, x: d.OneHotCategoricalStraightThrough(logits=x), [real(2, 3)]),
    "Pareto": (lambda t, d, a, b: d.Pareto(a, b), [positive(4), positive(4) * 2]),
    "Poisson": (lambda t, d, a: d.Poisson(a), [positive(2, 3)]),
    "RelaxedBernoulli": (lambda t, d, p: d.RelaxedBernoulli(t.tensor(0.7, dtype=t.float64), p), [unit(3)]),
    "RelaxedOneHotCategorical": (
        lambda t, d, p: d.RelaxedOneHotCategorical(t.tensor(0.7, dtype=t.float64), p),
        [rows(2, 3)],
    ),
    "StudentT": (lambda t, d, n, a, b: d.StudentT(n, a, b), [positive(5) * 2, real(5), positive(5)]),
    "TransformedDistribution": (
        lambda t, d, a, b: d.TransformedDistribution(
            d.Normal(a, b), [d.AffineTransform(0.5, -2.0), d.TanhTransform()]
        ),
        [real(3), positive(3)],
    ),
    "TransformedDistribution of vectors": (
        lambda t, d, a, b: d.TransformedDistribution(d.Normal(a, b), d.StickBreakingTransform()),
        [real(2, 3), positive(2, 3)],
    ),
    "TransformedDistribution broadcast": (
        lambda t, d, a, b: d.TransformedDistribution(d.Normal(0.0, 1.0), d.AffineTransform(a, b)),
        [real(3), positive(3)],
    ),
    "Uniform": (lambda t, d, a, b: d.Uniform(a, a + b), [real(3), positive(3)]),
    "VonMises": (lambda t, d, a, b: d.VonMises(a, b), [real(3), positive(3) * 4]),
    "Weibull": (lambda t, d, a, b: d.Weibull(a, b), [positive(3), positive(3) + 1]),
    "Wishart": (lambda t, d, c: d.Wishart(4.5, c), [matrices(3, 3)]),
    "Wishart in batches": (lambda t, d, n, c: d.Wishart(n + 3, scale_tril=c.tril()), [positive(2), factors(2, 3, 3)]),
}  # fmt: skip
