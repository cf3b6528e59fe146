"""Convolutions of bfloat16 arrays against float64, by each way of multiplying tiles."""

import ctypes
import inspect

import ml_dtypes
import numpy as np
import pytest

from torchlite import ir
from torchlite.backends.native import bfloat16_convolution, kernel
from torchlite.backends.native.library import Family, load
from torchlite.ops.windows import Window

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
WAYS = {
    "as the processor allows": "",
    "as for tile registers": """
#if defined(__x86_64__) && !defined(__clang__)
#pragma GCC target("amx-tile,amx-bf16")
#endif
""",  # which the system need not allow
    "without tile registers": "#undef __AMX_BF16__\n",
    "without AVX-512-BF16": "#undef __AMX_BF16__\n#undef __AVX512BF16__\n",
}
# samples, channels, size, results, window
CASES = [
    (3, 16, (9, 11), 16, Window.of((3, 3), padding=(1, 1))),
    (2, 3, (20, 19), 16, Window.of((3, 3), padding=(1, 1))),
    (17, 1, (12, 12), 33, Window.of((5, 5))),
    (2, 40, (8, 8), 70, Window.of((3, 3), padding=(1, 1))),
    (3, 16, (17, 16), 32, Window.of((3, 3), (2, 2), (1, 1))),
    (3, 16, (16, 17), 20, Window.of((1, 1), (2, 2))),
    (2, 3, (23, 24), 8, Window.of((7, 7), (2, 2), (3, 3))),
    (2, 5, (15, 15), 7, Window.of((3, 2), (1, 3), (2, 0), (2, 3))),
    (2, 24, (10, 9), 12, Window.of((2, 4), (3, 1), (0, 2))),
    (4, 6, (50,), 9, Window.of((5,), (2,), (2,))),
    (37, 17, (5, 6), 18, Window.of((3, 3), padding=(1, 1))),
]


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    """The same text with instruction sets defined or not, so that what other processors run is run here."""
    if kernel("bfloat16_convolution.convolution") is None:
        pytest.skip("kernels are switched off or can't be compiled")
    variant = Family(*bfloat16_convolution.C._files, **bfloat16_convolution.C._functions)
    variant.text = WAYS[request.param] + bfloat16_convolution.C.text
    monkeypatch.setattr(bfloat16_convolution, "C", variant)


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(BFLOAT16)


def exact(op, *arrays, **params):
    return inspect.unwrap(ir.REGISTRY[op].run)(np, *(array.astype(np.float64) for array in arrays), **params)


def rounded_once(got, expected):
    """Whether numbers are the nearest bfloat16 or its neighbour, or nothing beside the largest."""
    assert got.dtype == BFLOAT16
    assert got.shape == expected.shape
    np.testing.assert_allclose(got.astype(np.float64), expected, rtol=2**-8, atol=2e-6 * np.abs(expected).max())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_convolution_and_gradients(way, case):
    samples, channels, size, results, window = case
    x, weight, bias = drawn(samples, channels, *size), drawn(results, channels, *window.kernel, seed=1), drawn(results)
    params = {"window": window, "groups": 1}
    out = exact("convolution", x, weight, bias, **params)
    rounded_once(bfloat16_convolution.convolution(x, weight, bias, **params), out)
    rounded_once(bfloat16_convolution.convolution(x, weight, **params), exact("convolution", x, weight, **params))
    g = drawn(*out.shape, seed=2)
    grad = bfloat16_convolution.input_grad(g, weight, size=size, **params)
    rounded_once(grad, exact("convolution_input_grad", g, weight, size=size, **params))
    weight_grad = exact("convolution_weight_grad", x, g, **params)
    for a, b in ((x, g), (beside(x), beside(g)), (x, beside(g)), (beside(x), g)):
        rounded_once(bfloat16_convolution.weight_grad(a, b, **params), weight_grad)


def beside(x):
    """The same numbers, channels side by side in memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


def test_arrays_may_lie_in_any_order(way):
    window = Window.of((3, 3), padding=(1, 1))
    x, weight, g = (
        drawn(2, 9, 10, 18).transpose(0, 3, 1, 2),
        drawn(20, 18, 3, 3),
        drawn(2, 9, 10, 20).transpose(0, 3, 1, 2),
    )
    params = {"window": window, "groups": 1}
    rounded_once(bfloat16_convolution.convolution(x, weight, **params), exact("convolution", x, weight, **params))
    grad = bfloat16_convolution.input_grad(g, weight, size=(9, 10), **params)
    rounded_once(grad, exact("convolution_input_grad", g, weight, size=(9, 10), **params))
    rounded_once(bfloat16_convolution.weight_grad(x, g, **params), exact("convolution_weight_grad", x, g, **params))


def test_what_is_not_finite_reaches_the_windows_that_see_it_alone(way):
    window = Window.of((3, 3), (1, 1), (1, 1))
    x, weight = drawn(2, 4, 12, 12), drawn(6, 4, 3, 3)
    x[1, 2, 5, 6], x[0, 0, 0, 0] = np.nan, np.inf
    params = {"window": window, "groups": 1}
    got, expected = bfloat16_convolution.convolution(x, weight, **params), exact("convolution", x, weight, **params)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    np.testing.assert_array_equal(np.isinf(got), np.isinf(expected))


def test_groups_and_few_positions_are_for_others(way):
    x, weight = drawn(2, 4, 12, 12), drawn(6, 2, 3, 3)
    assert bfloat16_convolution.convolution(x, weight, window=Window.of((3, 3)), groups=2) is None
    assert (
        bfloat16_convolution.convolution(x[..., :5, :5], drawn(6, 4, 3, 3), window=Window.of((3, 3)), groups=1) is None
    )


BLOCK = 32  # positions that are handed over at once
HAND_OVER = """
static void hand_over(void *context, float *tile, long tile_step, long row, long column, long rows, long columns) {
    (void)tile, (void)tile_step, (void)column, (void)columns;
    for (long r = row; r < row + rows; r++) ((long *)context)[r] = rows;
}

int hand_over_input_grad(const void *y, const void *weight, long *runs, const Bf16Geometry *g) {
    void *scratch = scratch_of(bf16_input_grad_scratch(g));
    if (scratch) bf16_input_grad(g, y, weight, NULL, scratch, (Bf16OnRows){hand_over, runs, NULL}, (Bf16OnRows){0});
    free(scratch);
    return scratch != NULL;
}
"""


@pytest.mark.parametrize("case", [(3, (20, 37), 33, (3, 3), (2, 3)), (17, (8, 9), 5, (1, 1), (2, 2))], ids=str)
def test_gradients_of_strided_windows_are_handed_over_by_whole_rows(case):
    if kernel("bfloat16_convolution.convolution") is None:
        pytest.skip("kernels are switched off or can't be compiled")
    samples, size, channels, taps, stride = case
    window = Window.of(taps, stride)
    library = load("#undef __AMX_BF16__\n" + bfloat16_convolution.C.text + HAND_OVER)
    x, g = (drawn(samples, n, *sizes) for n, sizes in ((channels, size), (6, window.out_size("", size))))
    runs, weight = np.zeros((samples, *size), np.int64), drawn(6, channels, *taps)
    given = (g, weight, runs, bfloat16_convolution.geometry(x, g, window))
    assert library.hand_over_input_grad(*(ctypes.c_void_p(array.ctypes.data) for array in given))
    whole = size[1] // BLOCK * BLOCK
    np.testing.assert_array_equal(runs[..., :whole], BLOCK)
    np.testing.assert_array_equal(runs[..., whole:], size[1] - whole)
