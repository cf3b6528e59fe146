"""Gradients of convolutions' weights by Winograd's F(2, 3), along rows and nested: those of double precision, with errors like those
of direct sums.
"""

import numpy as np
import pytest
from convolution_cases import on_any_threads, planes, sizes
from weight_grad_cases import DATA, EXPORT, drawn, reference, weight_gradient

from torchlite.backends.native import convolution_nhwc, library, weight_grad_winograd
from torchlite.ops.windows import Window

# Samples, channels, size, results, window, and a strip's rows and samples: rows of taps together, of strips of which the last is
# lower; samples together, of which some are missing; channels and results that fill no vectors, odd rows; windows of other heights,
# paddings wider than they are.
CASES = [
    (16, 16, (12, 32), 16, Window.of((3, 3), padding=(1, 1))),
    (5, 64, (8, 8), 48, Window.of((3, 3), padding=(1, 1))),
    (2, 9, (7, 9), 5, Window.of((3, 3), padding=(1, 0))),
    (3, 21, (5, 7), 70, Window.of((5, 3), padding=(2, 3))),
    (2, 16, (3, 5), 16, Window.of((1, 3), padding=(4, 4))),
    (1, 12, (9, 12), 16, Window.of((2, 3))),
]
STRIPS = [(5, 1), (8, 2), (3, 1), (5, 2), (2, 1), (1, 1)]
SQUARES = [(4, 1), (4, 2), (3, 1)]  # of the first cases
# How many of the last dimensions have taps whose products are formed together.
TOGETHER, AXES = {"winograd": 1, "squares": 2}, (2, 3)


@pytest.fixture(scope="module")
def compiled(needs_compiler):
    """A function and its scratch of each case, and of the first directly and of an input (N, C, H, W)."""
    text, made = [library.text("parallel.h", "mathematics.h", "vectors.h", *weight_grad_winograd.HEADERS)], {}
    for index, (case, strip) in enumerate(zip(CASES, STRIPS, strict=True)):
        x, g = sizes(case)
        kernels = {"winograd": weight_grad_winograd.of_strips(f"winograd{index}", x, g, case[-1], strip)}
        if index < len(SQUARES):
            kernels["squares"] = weight_grad_winograd.of_squares(f"squares{index}", x, g, case[-1], SQUARES[index])
        if not index:
            kernels["direct"] = convolution_nhwc.weight_grad("direct", x, g, case[-1])
            kernels["planes"] = weight_grad_winograd.of_strips("planes", x, g, case[-1], strip, planes(x))
        for kind, kernel in kernels.items():
            name = kernel.text.partition("(")[2].partition(",")[0]
            made[index, kind] = name, kernel.scratch
            text += [kernel.text, EXPORT.format(name=name)]
    functions = library.load("".join(text))
    return {key: (getattr(functions, f"call_{name}"), scratch) for key, (name, scratch) in made.items()}


def call(compiled, key, x, g):
    """A kernel of arrays (N, C, H, W)."""
    return weight_gradient(compiled[key], CASES[key[0]], x, g, planes=key[1] == "planes")


@pytest.mark.parametrize("index", range(len(CASES)))
def test_every_kind_of_size(compiled, rng, index):
    x, g = drawn(rng, CASES[index])
    expected = reference(CASES[index], x, g)
    for key in compiled:
        if key[0] != index or key[1] == "direct":
            continue
        got = call(compiled, key, x, g)
        np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


def with_large(rng, x):
    return x * np.where(rng.random(x.shape) < 1e-3, 1e4, 1)


WITH_LARGE = {
    "large sources": lambda rng, x, g: (with_large(rng, x), g),
    "large gradients": lambda rng, x, g: (x, with_large(rng, g)),
    "large ones": lambda rng, x, g: (with_large(rng, x), with_large(rng, g)),
}
# By how much mean squares of errors may exceed those of direct sums, where most products are nothing beside a few.
MARGINS = {
    "winograd": {"sparse": 1.8, "8 decades": 1.6, "12 decades": 2.0},
    "squares": {"sparse": 3.2, "8 decades": 3.3, "12 decades": 3.8},
}


@pytest.mark.parametrize("data", [*DATA, *WITH_LARGE])
def test_errors_are_like_those_of_direct_sums(compiled, rng, data):
    """Beside the size of what taps add up whose products are formed together."""
    errors = {kind: [] for kind in TOGETHER}
    for _ in range(8):
        x, g = (a.astype(np.float32) for a in (DATA | WITH_LARGE)[data](rng, *drawn(rng, CASES[0])))
        true, scale = reference(CASES[0], x, g), reference(CASES[0], abs(x), abs(g)) + 1e-300
        off = {kind: call(compiled, (0, kind), x, g) - true for kind in (*TOGETHER, "direct")}
        for kind, squares in errors.items():
            beside = scale.max(AXES[-TOGETHER[kind] :], keepdims=True)
            made = (np.maximum(np.abs(off[which]) - 2**-148, 0) / beside for which in (kind, "direct"))
            squares.append([np.square(error).mean() for error in made])
    for kind, squares in errors.items():
        winograd, direct = np.mean(squares, axis=0)
        assert winograd <= direct * MARGINS[kind].get(data, 1.0)


@pytest.mark.parametrize("kind", TOGETHER)
@pytest.mark.parametrize("which", [0, 1])
def test_what_is_not_finite_stays_among_taps_that_are_formed_together(compiled, rng, which, kind):
    arrays = drawn(rng, CASES[0])
    arrays[which][0, 3, 0, 31], arrays[which][1, 5, 7, 11], arrays[which][2, 8, 11, 0] = np.nan, np.inf, -np.inf
    winograd, direct = (np.isfinite(call(compiled, (0, kind), *arrays)) for kind in (kind, "direct"))
    assert direct.any()
    assert not winograd[~direct].any()
    together = AXES[-TOGETHER[kind] :]
    np.testing.assert_array_equal(winograd.all(together), direct.all(together))


@pytest.mark.parametrize("kind", TOGETHER)
def test_threads_change_nothing(compiled, rng, kind):
    x, g = drawn(rng, CASES[1])
    on_any_threads(lambda: call(compiled, (1, kind), x, g))


def test_squares_that_are_chosen():
    def squares(samples, channels, size, results, window):
        return weight_grad_winograd.squares(*sizes((samples, channels, (size, size), results, window)), window)

    window = Window.of((3, 3), padding=(1, 1))
    assert squares(128, 64, 8, 64, window) == (4, 2)
    assert squares(128, 32, 16, 32, window) == (4, 1)
    assert squares(64, 32, 26, 64, Window.of((3, 3))) == (3, 1)
    assert squares(128, 16, 32, 16, window) is None  # few results
    assert squares(128, 256, 8, 256, window) is None  # many sums
    assert squares(128, 64, 3, 64, window) is None  # rows of which a quarter is missing
    assert squares(1, 128, 4, 128, window) is None  # few products
    assert squares(128, 64, 8, 64, Window.of((5, 3), padding=(2, 1))) is None


def test_what_is_chosen():
    def strip(samples, channels, size, results, window):
        return weight_grad_winograd.strip(*sizes((samples, channels, (size, size), results, window)), window)

    window = Window.of((3, 3), padding=(1, 1))
    assert strip(128, 16, 32, 16, window) == (32, 1)
    assert strip(64, 32, 26, 64, Window.of((3, 3))) == (13, 1)
    assert strip(128, 256, 4, 256, window) == (4, 4)
    assert strip(128, 3, 32, 16, window) is None
    assert strip(128, 16, 32, 2, window) is None
    assert strip(128, 16, 3, 16, window) is None  # pairs of which a third is missing
    assert strip(2, 512, 4, 512, window) is None  # many sums of few products
    assert strip(128, 16, 32, 16, Window.of((3, 3), (2, 2), (1, 1))) is None
    assert strip(128, 16, 32, 16, Window.of((3, 3), padding=(2, 2), dilation=(2, 2))) is None
    assert strip(128, 16, 32, 16, Window.of((3, 5), padding=(1, 2))) is None
