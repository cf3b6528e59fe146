"""Distributions beside PyTorch's: everything that is a function of parameters and values, with gradients."""

import numpy as np
import pytest
from oracle import same

A = np.array([0.5, -1.5, 2.0])
B = np.array([1.5, 0.5, 2.5])
P = np.array([0.2, 0.7, 0.45])
ROWS = np.array([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]])
UNIT = np.array([0.1, 0.4, 0.9])

# What makes it, its parameters, values in its support, whether it has a cdf and an icdf.
FAMILIES = {
    "Normal": (lambda d, a, b: d.Normal(a, b), (A, B), A[::-1].copy(), "cdf"),
    "Normal of numbers": (lambda d, a: d.Normal(a, 1.5), (A,), A[::-1].copy(), "cdf"),
    "HalfNormal": (lambda d, b: d.HalfNormal(b), (B,), B[::-1].copy(), "cdf"),
    "LogNormal": (lambda d, a, b: d.LogNormal(a, b), (A, B), B[::-1].copy(), "cdf"),
    "Uniform": (lambda d, a, b: d.Uniform(a, a + b), (A, B), A + 0.3, "cdf icdf"),
    "Exponential": (lambda d, b: d.Exponential(b), (B,), B[::-1].copy(), "cdf icdf"),
    "Laplace": (lambda d, a, b: d.Laplace(a, b), (A, B), A[::-1].copy(), "cdf icdf"),
    "Cauchy": (lambda d, a, b: d.Cauchy(a, b), (A, B), A[::-1].copy(), "icdf"),
    "Bernoulli": (lambda d, p: d.Bernoulli(p), (P,), np.array([0.0, 1.0, 1.0]), ""),
    "Bernoulli logits": (lambda d, a: d.Bernoulli(logits=a), (A,), np.array([0.0, 1.0, 1.0]), ""),
    "Geometric": (lambda d, p: d.Geometric(p), (P,), np.array([0.0, 1.0, 4.0]), ""),
    "Geometric logits": (lambda d, a: d.Geometric(logits=a), (A,), np.array([0.0, 1.0, 4.0]), ""),
    "Categorical": (lambda d, r: d.Categorical(r * 2), (ROWS,), np.array([2, 0]), ""),
    "Categorical logits": (lambda d, r: d.Categorical(logits=r), (ROWS,), np.array([[2, 0], [1, 1]]), ""),
    "OneHotCategorical": (lambda d, r: d.OneHotCategorical(r), (ROWS,), np.eye(3)[[2, 0]], ""),
    "Independent": (lambda d, a, b: d.Independent(d.Normal(a, b), 1), (A, B), A[::-1].copy(), ""),
    "affine tanh": (
        lambda d, a, b: d.TransformedDistribution(
            d.Normal(a, b), [d.transforms.AffineTransform(0.5, -2.0), d.transforms.TanhTransform()]
        ),
        (A, B),
        UNIT,
        "cdf",
    ),
    "sigmoid": (
        lambda d, a, b: d.TransformedDistribution(
            d.Normal(a, b), d.transforms.ComposeTransform([d.transforms.SigmoidTransform()])
        ),
        (A, B),
        UNIT,
        "cdf",
    ),
}
MOMENTS = {"mean", "variance", "stddev", "mode"}
WITHOUT = {"affine tanh": {*MOMENTS, "entropy"}, "sigmoid": {*MOMENTS, "entropy"}, "Uniform": {"mode"}}


@pytest.mark.parametrize("name", FAMILIES)
def test_log_prob_and_shapes(name):
    make, parameters, value, _ = FAMILIES[name]
    same(
        lambda t, v, *ps: (
            make(t.distributions, *ps).log_prob(v),
            list(make(t.distributions, *ps).batch_shape),
            list(make(t.distributions, *ps).event_shape),
        ),
        value,
        *parameters,
    )


@pytest.mark.parametrize(
    ("name", "what"), [(n, w) for n in FAMILIES for w in (*sorted(MOMENTS), "entropy") if w not in WITHOUT.get(n, ())]
)
def test_moments_and_entropy(name, what):
    make, parameters, _, _ = FAMILIES[name]

    def call(t, *ps):
        result = getattr(make(t.distributions, *ps), what)
        return result() if callable(result) else result.detach() if what == "mode" else result

    same(call, *parameters)


@pytest.mark.parametrize(("name", "what"), [(n, w) for n in FAMILIES for w in FAMILIES[n][3].split()])
def test_cdf(name, what):
    make, parameters, value, _ = FAMILIES[name]
    same(lambda t, v, *ps: getattr(make(t.distributions, *ps), what)(v), UNIT if what == "icdf" else value, *parameters)


@pytest.mark.parametrize("name", FAMILIES)
def test_expand(name):
    make, parameters, value, _ = FAMILIES[name]

    def call(t, v, *ps):
        d = make(t.distributions, *ps)
        wide = d.expand((4, *d.batch_shape))
        return wide.log_prob(v[0] if name == "Categorical logits" else v), list(wide.sample((2,)).shape)

    same(call, value, *parameters)


@pytest.mark.parametrize("name", ["Bernoulli", "Categorical", "OneHotCategorical"])
def test_enumerate_support(name):
    make, parameters, _, _ = FAMILIES[name]
    same(lambda t, *ps: [make(t.distributions, *ps).enumerate_support(e).detach() for e in (True, False)], *parameters)


@pytest.mark.parametrize(
    "name", [n for n in FAMILIES if n not in ("Cauchy", "affine tanh", "sigmoid", "Normal of numbers", "Uniform")]
)
def test_kl_divergence(name):
    make, parameters, _, _ = FAMILIES[name]
    others = [p[::-1].copy() for p in parameters]
    n = len(parameters)
    same(
        lambda t, *ps: t.distributions.kl_divergence(make(t.distributions, *ps[:n]), make(t.distributions, *ps[n:])),
        *parameters,
        *others,
    )


def test_kl_divergence_of_uniforms():
    same(
        lambda t, a, b: t.distributions.kl_divergence(
            t.distributions.Uniform(a, a + b), t.distributions.Uniform(a - 1, a + b + 0.5)
        ),
        A,
        B,
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda t, a: t.distributions.Normal(a, -1.0),
        lambda t, a: t.distributions.Normal(a, 1.0).log_prob(t.tensor([1.0, 2.0])),
        lambda t, a: t.distributions.Uniform(a, a),
        lambda t, a: t.distributions.Bernoulli(a),
        lambda t, a: t.distributions.Bernoulli(),
        lambda t, a: t.distributions.Bernoulli(a.sigmoid()).log_prob(a),
        lambda t, a: t.distributions.Categorical(probs=a),
        lambda t, a: t.distributions.Categorical(logits=a).log_prob(t.tensor(3)),
        lambda t, a: t.distributions.Exponential(1.0).log_prob(a),
        lambda t, a: t.distributions.Independent(t.distributions.Normal(a, 1.0), 2),
        lambda t, a: t.distributions.kl_divergence(t.distributions.Normal(a, 1.0), t.distributions.Bernoulli(logits=a)),
    ],
)
def test_same_errors(call):
    same(call, A.astype(np.float32))
