"""Transforms, constraints and the registries between them beside PyTorch's."""

import pickle

import numpy as np
import pytest
from oracle import attempt, same

torch = pytest.importorskip("torch")
torchlite = pytest.importorskip("torchlite")

rng = np.random.default_rng(4)
REAL, ROWS, SQUARES = rng.normal(size=(2, 6)), rng.normal(size=(2, 3)), rng.normal(size=(2, 3, 3))
POSITIVE, INSIDE = np.exp(REAL), np.tanh(REAL)

# A transform (with tensors of its own), and values of its domain.
TRANSFORMS = {
    "Exp": (lambda t, d: d.ExpTransform(), REAL),
    "Power": (lambda t, d: d.PowerTransform(t.tensor(-1.5, dtype=t.float64)), POSITIVE),
    "Power of a number": (lambda t, d: d.PowerTransform(2.0), POSITIVE.astype(np.float32)),
    "Sigmoid": (lambda t, d: d.SigmoidTransform(), REAL),
    "Sigmoid of large": (lambda t, d: d.SigmoidTransform(), np.array([-800.0, -30.0, 30.0, 800.0])),
    "Softplus": (lambda t, d: d.SoftplusTransform(), REAL * 4),
    "Tanh": (lambda t, d: d.TanhTransform(), REAL),
    "Abs": (lambda t, d: d.AbsTransform(), REAL),
    "Affine": (lambda t, d: d.AffineTransform(1.0, -2.0), REAL),
    "Affine of tensors": (lambda t, d: d.AffineTransform(t.ones(6) * 3, t.arange(1.0, 7.0), event_dim=1), REAL),
    "CumulativeDistribution": (lambda t, d: d.CumulativeDistributionTransform(d.Normal(0.5, 2.0)), REAL),
    "Softmax": (lambda t, d: d.SoftmaxTransform(), REAL),
    "StickBreaking": (lambda t, d: d.StickBreakingTransform(), REAL),
    "CorrCholesky": (lambda t, d: d.CorrCholeskyTransform(), REAL),
    "LowerCholesky": (lambda t, d: d.LowerCholeskyTransform(), SQUARES),
    "PositiveDefinite": (lambda t, d: d.PositiveDefiniteTransform(), SQUARES),
    "Reshape": (lambda t, d: d.ReshapeTransform((6,), (2, 3)), REAL),
    "Independent": (lambda t, d: d.IndependentTransform(d.ExpTransform(), 1), REAL),
    "Compose": (lambda t, d: d.ComposeTransform([d.AffineTransform(0.5, 2.0), d.StickBreakingTransform()]), REAL),
    "Compose of elements": (lambda t, d: d.ComposeTransform([d.ExpTransform(), d.AffineTransform(0.0, -1.0)]), REAL),
    "Compose nothing": (lambda t, d: d.ComposeTransform([]), REAL),
    "inverse": (lambda t, d: d.ExpTransform().inv, POSITIVE),
    "inverse of a composition": (
        lambda t, d: d.ComposeTransform([d.ExpTransform(), d.AffineTransform(0.0, 2.0)]).inv,
        POSITIVE,
    ),
    "Cat": (lambda t, d: d.CatTransform([d.ExpTransform(), d.TanhTransform()], dim=-1, lengths=[2, 4]), REAL),
    "Cat of events": (
        lambda t, d: d.CatTransform([d.IndependentTransform(d.ExpTransform(), 1)] * 2, dim=0, lengths=[1, 1]),
        REAL,
    ),
    "Stack": (lambda t, d: d.StackTransform([d.ExpTransform(), d.AffineTransform(1.0, 3.0)], dim=0), REAL),
}


def made(name, t, cache_size=0):
    return TRANSFORMS[name][0](t, t.distributions).with_cache(cache_size)


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("what", ["forward", "back", "jacobian"])
def test_values(name, what):
    def call(t, x):
        transform = made(name, t)
        y = transform(x)
        if what == "forward":
            return y
        return transform.inv(y) if what == "back" else transform.log_abs_det_jacobian(x, y)

    same(call, TRANSFORMS[name][1], tolerance=1e-6 if "number" in name else 1e-8)


PROPERTIES = {
    "sign": lambda t: t.sign,
    "bijective": lambda t: t.bijective,
    "event_dim": lambda t: t.event_dim,
    "domain": lambda t: (t.domain.event_dim, type(t.domain).__name__),
    "codomain": lambda t: (t.codomain.event_dim, type(t.codomain).__name__),
    "discrete": lambda t: (t.domain.is_discrete, t.codomain.is_discrete),
    "name": lambda t: str(t).replace("\n", "").split("(")[0],
    "shapes": lambda t: [tuple(t.inverse_shape(t.forward_shape(s))) for s in ((2, 6), (1, 3, 3))],
    "itself": lambda t: (t == t, t.inv.inv is t, t != t.inv),
}


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("what", PROPERTIES)
def test_properties(name, what):
    same(lambda t: PROPERTIES[what](made(name, t)))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_equal_transforms(name):
    # torchlite compares a few more by their parameters.
    expected = made(name, torch) == made(name, torch)
    assert made(name, torchlite) == made(name, torchlite) or not expected
    others = [other for other in TRANSFORMS if other != name]
    assert [made(name, torchlite) == made(other, torchlite) for other in others] == [
        made(name, torch) == made(other, torch) for other in others
    ]


@pytest.mark.parametrize("name", [n for n in TRANSFORMS if n != "Compose nothing"])
def test_cache(name):
    transform = made(name, torchlite, 1)
    x = torchlite.tensor(TRANSFORMS[name][1])
    y = transform(x)
    if "Compose" not in name and "composition" not in name:
        assert transform(x) is y
        assert transform.inv(y) is x
    assert transform.with_cache(1) is transform
    copied = pickle.loads(pickle.dumps(transform))
    assert torchlite.equal(copied(x), y)
    assert torchlite.equal(transform.with_cache(0)(x), y)


@pytest.mark.parametrize(
    "call",
    [
        lambda t, d, x: d.IndependentTransform(d.ExpTransform(), 3)(x),
        lambda t, d, x: d.ReshapeTransform((6,), (4,)),
        lambda t, d, x: d.ReshapeTransform((6,), (2, 3)).forward_shape((5,)),
        lambda t, d, x: d.ReshapeTransform((6,), (2, 3)).inverse_shape((3,)),
        lambda t, d, x: d.CorrCholeskyTransform().forward_shape((4,)),
        lambda t, d, x: d.CorrCholeskyTransform().inverse_shape((4, 3)),
        lambda t, d, x: d.StickBreakingTransform().forward_shape(()),
        lambda t, d, x: d.CatTransform([d.ExpTransform()], dim=0, lengths=[1])(x),
        lambda t, d, x: d.CatTransform([d.ExpTransform()], dim=0, lengths=[1, 1]),
        lambda t, d, x: d.StackTransform([1]),
        lambda t, d, x: d.StackTransform([d.ExpTransform()], dim=3)(x),
        lambda t, d, x: d.ExpTransform(cache_size=3),
        lambda t, d, x: d.Transform()(x),
        lambda t, d, x: d.StickBreakingTransform().sign,
        lambda t, d, x: d.biject_to(d.constraints.dependent),
        lambda t, d, x: d.biject_to(d.constraints.boolean),
        lambda t, d, x: d.biject_to(d.constraints.lower_cholesky),
        lambda t, d, x: d.transform_to.register(3, None)(lambda c: None),
        lambda t, d, x: d.constraints.dependent.check(x),
        lambda t, d, x: d.constraints.dependent.event_dim,
        lambda t, d, x: d.constraints.independent(d.constraints.real, 3).check(x),
        lambda t, d, x: d.constraints.independent(x, 1),
        lambda t, d, x: d.constraints.independent(d.constraints.real, -1),
        lambda t, d, x: d.constraints.stack([d.constraints.real], dim=3).check(x),
        lambda t, d, x: d.constraints.Constraint().check(x),
    ],
)
def test_same_errors(call):
    same(lambda t, x: call(t, t.distributions, x), REAL.astype(np.float32))


CONSTRAINTS = {
    "boolean": lambda c, t: c.boolean,
    "one_hot": lambda c, t: c.one_hot,
    "real": lambda c, t: c.real,
    "real_vector": lambda c, t: c.real_vector,
    "positive": lambda c, t: c.positive,
    "nonnegative": lambda c, t: c.nonnegative,
    "greater_than": lambda c, t: c.greater_than(-1.0),
    "greater_than of a tensor": lambda c, t: c.greater_than(t.tensor([-1.0, 0.0, 1.0])),
    "greater_than_eq": lambda c, t: c.greater_than_eq(1.0),
    "less_than": lambda c, t: c.less_than(1.0),
    "interval": lambda c, t: c.interval(-1.0, 2.0),
    "half_open_interval": lambda c, t: c.half_open_interval(0.0, 1.0),
    "unit_interval": lambda c, t: c.unit_interval,
    "integer_interval": lambda c, t: c.integer_interval(0, 2),
    "nonnegative_integer": lambda c, t: c.nonnegative_integer,
    "positive_integer": lambda c, t: c.positive_integer,
    "multinomial": lambda c, t: c.multinomial(2),
    "simplex": lambda c, t: c.simplex,
    "lower_triangular": lambda c, t: c.lower_triangular,
    "lower_cholesky": lambda c, t: c.lower_cholesky,
    "corr_cholesky": lambda c, t: c.corr_cholesky,
    "square": lambda c, t: c.square,
    "symmetric": lambda c, t: c.symmetric,
    "positive_semidefinite": lambda c, t: c.positive_semidefinite,
    "positive_definite": lambda c, t: c.positive_definite,
    "independent": lambda c, t: c.independent(c.positive, 1),
    "cat": lambda c, t: c.cat([c.positive, c.real], dim=-1, lengths=[1, 2]),
    "stack": lambda c, t: c.stack([c.positive, c.real, c.less_than(0.0)], dim=-1),
    "mixture": lambda c, t: c.MixtureSameFamilyConstraint(c.greater_than(t.tensor([0.5, -0.5]))),
}
LOWER = np.tril(SQUARES)
VALUES = [
    np.array([0.0, 1.0, 2.0]),
    np.array([[0.0, 1.0, 0.0], [1.0, 1.0, 0.0], [-1.0, np.nan, np.inf], [0.25, 0.25, 0.5], [0.5, 0.5, -0.5]]),
    np.stack([np.eye(3), SQUARES[0], LOWER[0], SQUARES[0] @ SQUARES[0].T, -np.eye(3), np.ones((3, 3))]),
    np.linalg.cholesky(np.array([[1.0, 0.3, 0.2], [0.3, 1.0, -0.4], [0.2, -0.4, 1.0]])),
]


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_constraints(name):
    for values in VALUES:
        for dtype in (np.float64, np.int64):
            array = np.nan_to_num(values, posinf=9).astype(dtype) if dtype is np.int64 else values
            same(lambda t, v: CONSTRAINTS[name](t.distributions.constraints, t).check(v.detach()), array)
    same(
        lambda t: (
            (c := CONSTRAINTS[name](t.distributions.constraints, t)).is_discrete, c.event_dim, str(c).split("(")[0],
            t.distributions.constraints.is_dependent(c),
        )
    )  # fmt: skip


@pytest.mark.parametrize("name", CONSTRAINTS)
@pytest.mark.parametrize("registry", ["biject_to", "transform_to"])
def test_registries(name, registry):
    def onto(t, x):
        transform = getattr(t.distributions, registry)(CONSTRAINTS[name](t.distributions.constraints, t))
        y = transform(x)
        return y, transform.inv(y)

    matrices = "cholesky" in name or "definite" in name
    same(onto, SQUARES if matrices and "corr" not in name else ROWS, tolerance=1e-8)
    value, error = attempt(lambda t: onto(t, t.tensor(SQUARES if matrices and "corr" not in name else ROWS)), torchlite)
    if error is None:
        c = CONSTRAINTS[name](torchlite.distributions.constraints, torchlite)
        assert c.check(value[0]).all()


def test_dependent_properties():
    def seen(t):
        d = t.distributions
        supports = [d.Uniform.support, d.Multinomial.support, d.constraints.dependent(event_dim=2)]
        return [(s.event_dim, d.constraints.is_dependent(s)) for s in supports], d.Binomial.support.is_discrete

    same(seen)
