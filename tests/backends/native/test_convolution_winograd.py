"""Convolutions by Winograd's filtering, along rows and in both dimensions: the sums of double precision, with errors as direct ones."""

import numpy as np
import pytest
from convolution_cases import DATA, KINDS, call, on_any_threads, planes, reference, shapes, sizes
from convolution_cases import compiled as kernels

from torchlite.backends.native import convolution_nhwc, convolution_winograd
from torchlite.ops.windows import Window

# Samples, channels, size, results, window: even and odd rows, of one tile and of several; rows of several samples in a tile, of
# which some are missing; remainders of vectors and blocks; wide paddings; rows that no window meets; bands.
CASES = [
    (3, 16, (12, 32), 16, Window.of((3, 3), padding=(1, 1))),
    (3, 64, (8, 8), 64, Window.of((3, 3), padding=(1, 1))),
    (11, 8, (7, 7), 40, Window.of((3, 3), padding=(1, 1))),
    (2, 32, (9, 26), 32, Window.of((3, 3))),
    (9, 12, (3, 3), 20, Window.of((3, 3), padding=(1, 1))),
    (2, 9, (5, 41), 10, Window.of((3, 3), padding=(2, 2))),
    (2, 10, (19, 33), 24, Window.of((5, 3), padding=(2, 1), dilation=(2, 1))),
    (2, 16, (4, 9), 8, Window.of((1, 3), padding=(2, 3))),
    (1, 40, (64, 64), 8, Window.of((3, 3), padding=(1, 0))),
    (3, 8, (2, 1), 8, Window.of((3, 3), padding=(1, 1))),
]

COMPARED = 0, 1  # two rows at once, and one


@pytest.fixture(scope="module")
def compiled(needs_compiler):
    """A function and its scratch of each case, of some also by direct sums, and of the first from channels far apart."""
    wanted = {
        (i, kind, True): (convolution_winograd, kind, case, None) for i, case in enumerate(CASES) for kind in KINDS
    }
    wanted |= {(i, kind, False): (convolution_nhwc, kind, CASES[i], None) for i in COMPARED for kind in KINDS}
    wanted[0, "planes", True] = convolution_winograd, "convolution", CASES[0], planes(sizes(CASES[0])[0])
    return kernels(convolution_winograd.HEADERS, wanted)


def drawn(rng, kind, index):
    """What a sum reads, its weight, and the sizes of its result."""
    source, of_weight, result = shapes(kind, CASES[index])
    return *(rng.normal(size=s).astype(np.float32) for s in (source, of_weight)), result


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("index", range(len(CASES)))
def test_sums(compiled, rng, index, kind):
    x, weight, result = drawn(rng, kind, index)
    bias = rng.normal(size=result[-1]).astype(np.float32)
    for given in (None, bias):
        expected = reference(kind, CASES[index], x, weight) + (0 if given is None else given[:, None, None])
        got = call(compiled, (index, kind, True), x, weight, result, given)
        np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


def outliers(rng, source, of_weight):
    x = rng.normal(size=source)
    x[:, :, ::5, ::7] *= 1e4
    return x, rng.normal(size=of_weight)


# How large the errors may be on average over those of direct sums. Sums that are small beside their terms, or have few of them,
# have the rounding errors of transforms.
DATA_AND_ERRORS = {
    "normal": 1.0,
    "uniform": 0.8,
    "a sample of zeros": 1.0,
    "1e-30 by 1.0": 1.0,
    "outliers": 1.0,
    "3 decades": 1.1,
    "1.0 by 1e-38": 1.1,
    "1e+37 by 1e-38": 1.1,
    "cancelling": 1.4,
    "sparse": 2.2,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("data", DATA_AND_ERRORS)
@pytest.mark.parametrize("index", COMPARED)
def test_errors_are_at_most_those_of_direct_sums(compiled, index, data, kind):
    source, of_weight, result = shapes(kind, CASES[index])
    squares = np.zeros(2)
    for seed in range(4):
        draw = {**DATA, "outliers": outliers}[data]
        x, weight = (a.astype(np.float32) for a in draw(np.random.default_rng(seed), source, of_weight))
        expected = reference(kind, CASES[index], x, weight)
        errors = [
            (call(compiled, (index, kind, how), x, weight, result) - expected) / np.abs(expected).max()
            for how in (True, False)
        ]
        squares += [np.square(e).mean() for e in errors]
    assert np.sqrt(squares[0] / squares[1]) <= DATA_AND_ERRORS[data]


@pytest.mark.parametrize("index", [0, 1, 2])
def test_what_is_not_finite_stays_where_windows_meet_it(compiled, rng, index):
    x, weight, result = drawn(rng, "convolution", index)
    before = call(compiled, (index, "convolution", True), x, weight, result)
    x[1, 3, 5, 5], x[2, 0, 0, -1], x[0, 7, 6, 2] = np.nan, np.inf, -np.inf
    got = call(compiled, (index, "convolution", True), x, weight, result)
    with np.errstate(invalid="ignore"):
        met = ~np.isfinite(reference("convolution", CASES[index], x, weight))
    assert met.any() and not met.all()
    np.testing.assert_array_equal(~np.isfinite(got), met)
    np.testing.assert_array_equal(got[~met], before[~met])


def test_planes(compiled, rng):
    x, weight, result = drawn(rng, "convolution", 0)
    got = [call(compiled, (0, kind, True), x, weight, result) for kind in ("planes", "convolution")]
    np.testing.assert_array_equal(*got)


@pytest.mark.parametrize("index", [1, 2, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_threads_change_nothing(compiled, rng, index, kind):
    x, weight, result = drawn(rng, kind, index)
    on_any_threads(lambda: call(compiled, (index, kind, True), x, weight, result))


@pytest.mark.parametrize(
    ("x", "results", "window", "pays"),
    [
        ((128, 32, 32, 16), 16, Window.of((3, 3), padding=(1, 1)), True),
        ((64, 26, 26, 32), 64, Window.of((3, 3)), True),
        ((64, 28, 28, 32), 32, Window.of((1, 3)), True),
        # A transformed number is of use too few times.
        ((128, 32, 32, 3), 16, Window.of((3, 3), padding=(1, 1)), False),
        ((128, 32, 32, 16), 16, Window.of((3, 3), (2, 2), (1, 1)), False),
        ((128, 32, 32, 16), 16, Window.of((3, 3), padding=(2, 2), dilation=(2, 2)), False),
        ((128, 32, 32, 16), 16, Window.of((5, 5), padding=(2, 2)), False),
        ((8, 7, 7, 512), 512, Window.of((3, 3), padding=(1, 1)), True),
        ((1, 7, 7, 512), 512, Window.of((3, 3), padding=(1, 1)), False),  # weights are transformed for few positions
    ],
)
def test_sizes_that_pay(x, results, window, pays):
    out = (x[0], *window.out_size("convolution", x[1:3]), results)
    for of in (convolution_nhwc.convolution(x, out, window), convolution_nhwc.input_grad(out, x, window)):
        assert convolution_winograd.pays(of) == pays
