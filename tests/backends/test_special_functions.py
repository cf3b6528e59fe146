"""The special functions against numbers of arbitrary precision, over wide ranges."""

import numpy as np
import pytest

from torchlite.backends.special import evaluate

mp = pytest.importorskip("mpmath")
rng = np.random.default_rng(72)

UNIT = rng.uniform(0, 1, 15)
SMALL, TINY = rng.uniform(0, 3, 30), 10 ** rng.uniform(-290, -1, 10)
MIDDLE, LARGE = rng.uniform(0, 40, 40), 10 ** rng.uniform(1.5, 4, 10)
POSITIVE = np.concatenate([SMALL, TINY, MIDDLE, LARGE])
BOTH = np.concatenate([POSITIVE, -POSITIVE])
NEAR_INTEGERS = np.concatenate([1 + 10 ** rng.uniform(-12, -1, 10), 2 - 10 ** rng.uniform(-12, -1, 10)])
NEGATIVE = -np.concatenate([SMALL, TINY, MIDDLE])


def scaled_modified(function, order, sign):
    return lambda x: function(order, x) * mp.exp(sign * abs(x))


# Name, the exact function, where, and how many digits of the result or (where it has zeros) after the point.
CASES = [
    ("lgamma", mp.loggamma, np.concatenate([POSITIVE, NEAR_INTEGERS]), 2e-15, 0),
    ("lgamma", lambda x: mp.log(abs(mp.gamma(x))), NEGATIVE, 1e-14, 1e-15),
    ("digamma", mp.digamma, np.concatenate([BOTH, NEAR_INTEGERS]), 1e-13, 1e-14),
    ("erfc", mp.erfc, np.concatenate([SMALL, -SMALL, TINY, 8 * SMALL]), 2e-15, 0),
    ("erfcx", lambda x: mp.exp(x * x) * mp.erfc(x), np.concatenate([SMALL, -8 * SMALL, TINY, MIDDLE]), 2e-15, 0),
    ("erfinv", mp.erfinv, np.concatenate([UNIT, -UNIT, TINY, 1 - 10 ** rng.uniform(-15, -2, 10)]), 2e-15, 0),
    (
        "ndtri",
        lambda p: mp.sqrt(2) * mp.erfinv(2 * p - 1),
        np.concatenate([UNIT, UNIT * 1e-9, 1 - UNIT * 1e-9]),
        4e-15,
        0,
    ),
    ("log_ndtr", lambda x: mp.log(mp.ncdf(x)), np.concatenate([SMALL, -MIDDLE]), 2e-15, 0),
    ("bessel_j0", lambda x: mp.besselj(0, x), BOTH, 0, 2e-15),
    ("bessel_j1", lambda x: mp.besselj(1, x), BOTH, 0, 2e-15),
    ("bessel_y0", lambda x: mp.bessely(0, x), POSITIVE, 1e-14, 2e-15),
    ("bessel_y1", lambda x: mp.bessely(1, x), POSITIVE, 1e-14, 2e-15),
    ("i0", lambda x: mp.besseli(0, x), np.concatenate([SMALL, -MIDDLE, TINY, 18 * MIDDLE]), 2e-14, 0),
    ("i1", lambda x: mp.besseli(1, x), np.concatenate([SMALL, -MIDDLE, TINY, 18 * MIDDLE]), 2e-14, 0),
    ("i0e", scaled_modified(mp.besseli, 0, -1), BOTH, 4e-15, 0),
    ("i1e", scaled_modified(mp.besseli, 1, -1), BOTH, 4e-15, 0),
    ("modified_bessel_k0", lambda x: mp.besselk(0, x), np.concatenate([SMALL, MIDDLE, TINY]), 2e-14, 0),
    ("modified_bessel_k1", lambda x: mp.besselk(1, x), np.concatenate([SMALL, MIDDLE, TINY]), 2e-14, 0),
    ("scaled_modified_bessel_k0", scaled_modified(mp.besselk, 0, 1), POSITIVE, 4e-15, 0),
    ("scaled_modified_bessel_k1", scaled_modified(mp.besselk, 1, 1), POSITIVE, 4e-15, 0),
    ("airy_ai", mp.airyai, np.concatenate([-SMALL, -MIDDLE]), 0, 2e-14),
    ("airy_ai", mp.airyai, np.concatenate([SMALL, 3 * SMALL, TINY]), 2e-14, 0),
]


@pytest.mark.parametrize(("name", "exact", "points", "relative", "absolute"), CASES)
def test_functions_of_one_number(name, exact, points, relative, absolute):
    with mp.workdps(30):
        expected = [float(exact(mp.mpf(x))) for x in points.tolist()]
    np.testing.assert_allclose(computed(name, points), expected, rtol=relative, atol=absolute)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 9])
def test_polygamma(n):
    points = np.concatenate([SMALL, MIDDLE, LARGE, -SMALL, -MIDDLE])
    with mp.workdps(60):
        expected = [float(mp.polygamma(n, mp.mpf(x))) for x in points.tolist()]
    np.testing.assert_allclose(computed("polygamma", points, n=n), expected, rtol=2e-12)


def test_zeta():
    s, q = rng.uniform(1.05, 30, 40), np.concatenate([MIDDLE[:20], UNIT, LARGE[:5]])
    with mp.workdps(150):  # counted after the point
        expected = [float(mp.zeta(mp.mpf(a), mp.mpf(b))) for a, b in zip(s.tolist(), q.tolist(), strict=True)]
    np.testing.assert_allclose(computed("zeta", s, q), expected, rtol=2e-14)


# Shapes from next to nothing to thousands, and numbers about them and far off in both tails.
SHAPES = np.concatenate([TINY[:5] ** 0.02, 20 * UNIT, 20 + 10 * MIDDLE[:15], LARGE])
SPREAD = SHAPES * np.exp(rng.normal(size=SHAPES.size) * 0.5)
ABOUT = np.abs(SHAPES + np.sqrt(SHAPES) * rng.normal(size=SHAPES.size))
POINTS = np.concatenate([np.where(rng.random(SHAPES.size) < 0.7, SPREAD, SHAPES * 0.01), ABOUT])
SHAPES = np.concatenate([SHAPES, SHAPES])


@pytest.mark.parametrize(("name", "upper"), [("igamma", False), ("igammac", True)])
def test_incomplete_gamma_functions(name, upper):
    def exact(a, x):
        a, x = mp.mpf(a), mp.mpf(x)
        bounds = (x, mp.inf) if upper else (0, x)
        return float(mp.gammainc(a, *bounds, regularized=True))

    with mp.workdps(30):
        expected = [exact(a, x) for a, x in zip(SHAPES.tolist(), POINTS.tolist(), strict=True)]
    np.testing.assert_allclose(computed(name, SHAPES, POINTS), expected, rtol=2e-12, atol=1e-290)


def test_slope_of_gamma_samples():
    def exact(a, x):
        a, x = mp.mpf(a), mp.mpf(x)
        slope = mp.diff(lambda t: mp.gammainc(t, 0, x, regularized=True), a, h=mp.mpf(10) ** -25)
        return float(-slope / mp.exp((a - 1) * mp.log(x) - x - mp.loggamma(a)))

    with mp.workdps(120):
        expected = [exact(a, x) for a, x in zip(SHAPES.tolist(), POINTS.tolist(), strict=True)]
    np.testing.assert_allclose(computed("standard_gamma_grad", SHAPES, POINTS), expected, rtol=1e-12)


def test_slopes_of_samples_that_vanished_are_zero():
    a, x = np.array([0.3, 2.0, 50.0]), np.array([0.0, 0.0, 0.0])
    np.testing.assert_array_equal(computed("standard_gamma_grad", a, x), np.zeros(3))


KINDS = {
    "t": mp.chebyt,
    "u": mp.chebyu,
    "v": lambda n, x: mp.chebyu(n, x) - (mp.chebyu(n - 1, x) if n else 0),
    "w": lambda n, x: mp.chebyu(n, x) + (mp.chebyu(n - 1, x) if n else 0),
}


@pytest.mark.parametrize("kind", KINDS)
def test_chebyshev_polynomials(kind):
    n = np.array([0, 1, 2, 5, 30, 60, 61, 100, 333])[:, None]
    x = np.concatenate([2 * UNIT - 1, 1.1 * UNIT, -1.1 * UNIT, [1.0, -1.0, 0.0, 1 - 1e-12]])
    n, x = (a.ravel() for a in np.broadcast_arrays(n, x))
    with mp.workdps(60):
        expected = [float(KINDS[kind](b, mp.mpf(a))) for a, b in zip(x.tolist(), n.tolist(), strict=True)]
    np.testing.assert_allclose(computed("chebyshev", x, n * 1.0, kind=kind), expected, rtol=2e-13, atol=2e-12)


def test_functions_of_large_arrays_are_computed_block_by_block():
    x = np.linspace(-8, 30, 50_001)
    whole = computed("lgamma", x)
    pieces = np.concatenate([computed("lgamma", part) for part in np.array_split(x, 7)])
    np.testing.assert_array_equal(whole, pieces)


def computed(name, *arrays, **params):
    with np.errstate(all="ignore"):
        return evaluate(np, name, *arrays, **params)
