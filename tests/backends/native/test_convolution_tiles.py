"""Convolutions in tile registers: the sums of double precision, with no larger errors than those of multiply-adds.

Where the processor has no tile registers both are the same.
"""

import numpy as np
import pytest
from convolution_cases import DATA, KINDS, call, on_any_threads, planes, reference, shapes, sizes
from convolution_cases import compiled as kernels

from torchlite.backends.native import convolution_nhwc, convolution_tiles
from torchlite.backends.native.bfloat16 import has_tiles
from torchlite.ops.windows import Window

# Samples, channels, size, results, window: rows of one tile, of two, of one and a part; woven samples, of which some are
# missing; steps with rows that are missing; bands.
CASES = [
    (3, 32, (16, 16), 32, Window.of((3, 3), padding=(1, 1))),
    (3, 64, (8, 8), 32, Window.of((3, 3), padding=(1, 1))),
    (2, 32, (7, 26), 64, Window.of((3, 3))),
    (5, 32, (7, 7), 32, Window.of((3, 3), padding=(1, 1))),
    (2, 32, (9, 32), 32, Window.of((3, 3), padding=(1, 1))),
    (2, 32, (9, 16), 96, Window.of((3, 3), padding=(2, 2), dilation=(2, 2))),
    (1, 32, (53, 18), 32, Window.of((4, 3), padding=(3, 0))),
]


@pytest.fixture(scope="module")
def compiled(needs_compiler):
    """A function and its scratch of each case, in tiles and by multiply-adds."""
    wanted = {(i, kind, True): (convolution_tiles, kind, case, None) for i, case in enumerate(CASES) for kind in KINDS}
    wanted |= {(0, kind, False): (convolution_nhwc, kind, CASES[0], None) for kind in KINDS}
    wanted[0, "planes", True] = convolution_tiles, "convolution", CASES[0], planes(sizes(CASES[0])[0])
    return kernels(convolution_tiles.HEADERS, wanted)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("index", range(len(CASES)))
def test_sums(compiled, rng, index, kind):
    source, of_weight, result = shapes(kind, CASES[index])
    x, weight, bias = (rng.normal(size=s).astype(np.float32) for s in (source, of_weight, result[-1:]))
    for given in (None, bias):
        expected = reference(kind, CASES[index], x, weight) + (0 if given is None else given[:, None, None])
        got = call(compiled, (index, kind, True), x, weight, result, given)
        np.testing.assert_allclose(got, expected, rtol=0, atol=(1e-6 if has_tiles() else 3e-6) * np.abs(expected).max())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("data", DATA)
def test_errors_are_at_most_those_of_multiply_adds(compiled, rng, data, kind):
    source, of_weight, result = shapes(kind, CASES[0])
    x, weight = (a.astype(np.float32) for a in DATA[data](rng, source, of_weight))
    scale = reference(kind, CASES[0], np.abs(x), np.abs(weight)) + 1e-300
    expected = reference(kind, CASES[0], x, weight)
    errors, plain = (
        np.maximum(np.abs(call(compiled, (0, kind, tiles), x, weight, result) - expected) - 2**-149, 0) / scale
        for tiles in (True, False)
    )
    assert np.isfinite(errors).all()
    assert errors.max() <= plain.max()
    assert np.square(errors).mean() <= np.square(plain).mean()


@pytest.mark.parametrize("index", [0, 3])
def test_what_is_not_finite_stays_where_windows_meet_it(compiled, rng, index):
    source, of_weight, result = shapes("convolution", CASES[index])
    x, weight = (rng.normal(size=s).astype(np.float32) for s in (source, of_weight))
    expected = reference("convolution", CASES[index], x, weight)
    x[1, 3, 5, 6], x[2, 0, 0, -1], x[0, 31, 6, 2] = np.nan, np.inf, 3e38
    with np.errstate(invalid="ignore", over="ignore"):
        reached = reference("convolution", CASES[index], x, weight)
    got = call(compiled, (index, "convolution", True), x, weight, result)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(reached))
    met = reached != expected
    np.testing.assert_allclose(got[~met], expected[~met], rtol=0, atol=1e-4)
    finite = np.abs(reached) < 3e38
    np.testing.assert_allclose(got[met & finite], reached[met & finite], rtol=1e-5)
    weight[3, 7, 1, 1] = -np.inf
    got = call(compiled, (index, "convolution", True), x, weight, result)
    assert not np.isfinite(got[:, 3, 1:-1, 1:-1]).any()
    np.testing.assert_allclose(got[:, 4][~met[:, 4]], expected[:, 4][~met[:, 4]], rtol=0, atol=1e-4)


def test_planes(compiled, rng):
    source, of_weight, result = shapes("convolution", CASES[0])
    x, weight = (rng.normal(size=s).astype(np.float32) for s in (source, of_weight))
    got = [call(compiled, (0, kind, True), x, weight, result) for kind in ("planes", "convolution")]
    np.testing.assert_array_equal(*got)


@pytest.mark.parametrize("index", [1, 6])
def test_threads_change_nothing(compiled, rng, index):
    source, of_weight, result = shapes("convolution", CASES[index])
    x, weight = (rng.normal(size=s).astype(np.float32) for s in (source, of_weight))
    x[0] *= 1e-22
    on_any_threads(lambda: call(compiled, (index, "convolution", True), x, weight, result))


@pytest.mark.parametrize(
    ("x", "results", "window", "pays"),
    [
        ((128, 16, 16, 32), 32, Window.of((3, 3), padding=(1, 1)), True),
        ((64, 26, 26, 32), 64, Window.of((3, 3)), True),
        ((128, 32, 32, 16), 16, Window.of((3, 3), padding=(1, 1)), False),
        ((128, 16, 16, 32), 64, Window.of((3, 3), (2, 2), (1, 1)), False),
        ((128, 16, 16, 32), 64, Window.of((1, 1)), False),
        ((1, 16, 16, 32), 64, Window.of((3, 3), padding=(1, 1)), False),  # weights are split for few positions
        ((128, 8, 8, 256), 256, Window.of((3, 3), padding=(1, 1)), False),  # they would lie far away
        ((128, 44, 44, 32), 32, Window.of((3, 3), padding=(1, 1)), False),  # rows of two tiles and a part
    ],
)
def test_sizes_that_pay(x, results, window, pays):
    out = (x[0], *window.out_size("convolution", x[1:3]), results)
    assert convolution_tiles.pays(convolution_nhwc.convolution(x, out, window)) == pays
