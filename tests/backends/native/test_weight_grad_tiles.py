"""Gradients of convolutions' weights in tile registers: those of double precision, with no larger errors than by multiply-adds.

Where the processor has no tile registers both are the same.
"""

import numpy as np
import pytest
from convolution_cases import on_any_threads, planes, sizes
from weight_grad_cases import DATA, EXPORT, drawn, reference, weight_gradient

from torchlite.backends.native import convolution_nhwc, library, weight_grad_tiles
from torchlite.ops.windows import Window

# Samples, channels, size, results, window: whole rows; 2, 4 and 8 samples side by side, of which some are missing; rows of more than
# one chunk; strides, dilations and windows of other heights.
CASES = [
    (16, 16, (12, 32), 16, Window.of((3, 3), padding=(1, 1))),
    (5, 32, (8, 8), 48, Window.of((3, 3), padding=(1, 1))),
    (19, 16, (10, 18), 16, Window.of((3, 3))),
    (3, 32, (26, 26), 32, Window.of((3, 3))),
    (1, 16, (36, 20), 16, Window.of((5, 3), padding=(2, 1))),
    (3, 16, (6, 6), 32, Window.of((1, 3), padding=(0, 1))),
    (2, 16, (64, 64), 16, Window.of((3, 3), padding=(1, 1))),
    (3, 16, (16, 16), 32, Window.of((3, 3), (2, 2), (1, 1))),
    (2, 16, (16, 16), 16, Window.of((3, 3), padding=(2, 2), dilation=(2, 2))),
    (3, 32, (12, 23), 16, Window.of((3, 3), (2, 3), (1, 2), (1, 2))),
]


@pytest.fixture(scope="module")
def compiled(needs_compiler):
    """A function and its scratch of each case in tiles, and of the first by multiply-adds and of an input (N, C, H, W)."""
    text, made = [library.text("parallel.h", "mathematics.h", "vectors.h", *weight_grad_tiles.HEADERS)], {}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(weight_grad_tiles, "_WORK", 0)
        patched.setattr(weight_grad_tiles, "_USES", 0)
        for index, case in enumerate(CASES):
            x, g = sizes(case)
            wanted = {"tiles": (weight_grad_tiles, None)}
            if not index:
                wanted |= {"plain": (convolution_nhwc, None), "planes": (weight_grad_tiles, planes(x))}
            for kind, (module, steps) in wanted.items():
                name = f"kernel{len(made)}"
                kernel = module.weight_grad(name, x, g, case[-1], steps)
                assert ("WEIGHT_GRADIENT_IN_TILES(" in kernel.text) == (kind != "plain")
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
    for kind in ("tiles", "planes")[: 1 + (not index)]:
        got = call(compiled, (index, kind), x, g)
        np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


def errors_of(compiled, rng, data):
    """In tiles and by multiply-adds, each over the sum of the products' sizes."""
    x, g = (a.astype(np.float32) for a in DATA[data](rng, *drawn(rng, CASES[0])))
    true, scale = reference(CASES[0], x, g), reference(CASES[0], abs(x), abs(g)) + 1e-300
    made = (call(compiled, (0, kind), x, g) for kind in ("tiles", "plain"))
    return [np.maximum(np.abs(got - true) - 2**-148, 0) / scale for got in made]


@pytest.mark.parametrize("data", DATA)
def test_errors_are_at_most_those_of_multiply_adds(compiled, rng, data):
    errors = np.array([errors_of(compiled, rng, data) for _ in range(8)])
    assert np.isfinite(errors).all()
    largest, squares = (
        by(errors, axis=(2, 3, 4, 5)).mean(0) for by in (np.max, lambda e, axis: np.square(e).mean(axis))
    )
    assert largest[0] <= largest[1]
    assert squares[0] <= squares[1]


@pytest.mark.parametrize("which", [0, 1])
def test_what_is_not_finite_is_that_of_multiply_adds(compiled, rng, which):
    arrays = drawn(rng, CASES[0])
    arrays[which][0, 3, 0, 31], arrays[which][1, 5, 7, 11], arrays[which][2, 8, 11, 0] = np.nan, np.inf, 3e38
    tiles, plain = (call(compiled, (0, kind), *arrays) for kind in ("tiles", "plain"))
    assert np.isnan(plain).any()
    np.testing.assert_array_equal(np.isnan(tiles), np.isnan(plain))
    np.testing.assert_array_equal(np.isinf(tiles), np.isinf(plain))


def test_threads_change_nothing(compiled, rng):
    x, g = drawn(rng, CASES[1])
    on_any_threads(lambda: call(compiled, (1, "tiles"), x, g))


def test_sizes_that_stay_as_they_are():
    def in_tiles(samples, channels, size, results, window):
        case = samples, channels, (size, size), results, window
        return "IN_TILES" in weight_grad_tiles.weight_grad("name", *sizes(case), window).text

    window = Window.of((3, 3), padding=(1, 1))
    assert in_tiles(64, 16, 16, 16, window)
    assert not in_tiles(64, 3, 16, 16, window)  # channels
    assert not in_tiles(64, 16, 16, 24, window)  # results
    assert not in_tiles(64, 16, 15, 16, window)  # rows
    assert not in_tiles(64, 16, 16, 16, Window.of((1, 1)))
    assert not in_tiles(64, 16, 16, 16, Window.of((3, 3), (2, 2), (1, 1)))  # few products of each number
    assert not in_tiles(1, 16, 16, 16, window)
