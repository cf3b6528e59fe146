"""The kernels of max-pooling against NumPy: windows of all kinds, equal numbers, NaN and infinities."""

import inspect

import numpy as np
import pytest

import torchlite.nn.functional  # noqa: F401 - registers the operators
from torchlite import ir
from torchlite.backends.native import kernel
from torchlite.ops.windows import Window

WINDOWS = [
    ((9, 40), Window.of((2, 2), (2, 2))), ((8, 70), Window.of((2, 2), (2, 2))), ((7, 9), Window.of((3, 3), (2, 2), (1, 1))),
    ((5, 7), Window.of((2, 2), (2, 2), ceil=True)), ((9, 9), Window.of((3, 2), (1, 2), (1, 0), (2, 3))),
    ((30,), Window.of((3,), (2,), (1,))), ((6, 6), Window.of((1, 1), (3, 3))),
]  # fmt: skip


def both(op, name, *arrays, **params):
    fast = kernel(f"pooling.{name}")
    if fast is None:
        pytest.skip("kernels are switched off or can't be compiled")
    return fast(*arrays, **params), inspect.unwrap(ir.REGISTRY[op].run)(np, *arrays, **params)


@pytest.mark.parametrize(("size", "window"), WINDOWS)
@pytest.mark.parametrize("lead", [(2, 3), (5,)])
def test_maxima_places_and_gradients(size, window, lead):
    rng = np.random.default_rng(0)
    x = rng.integers(-3, 3, (*lead, *size)).astype(np.float32)  # with many equal numbers
    special = rng.random(x.shape)
    x[special < 0.1], x[special > 0.9], x[0] = np.nan, np.inf, -np.inf
    (best, places), (expected, at) = both("max_pool", "max_pool", x, window=window)
    np.testing.assert_array_equal(best, expected)
    np.testing.assert_array_equal(places, at)
    assert places.dtype == at.dtype
    g = rng.normal(size=best.shape).astype(np.float32)
    spread = both("spread_to_windows", "spread", g, places, window=window, size=size)
    np.testing.assert_allclose(*spread, rtol=1e-5, atol=1e-6)


def test_memory_with_gaps():
    x = np.random.default_rng(0).normal(size=(2, 8, 3, 20)).astype(np.float32).swapaxes(1, 2)[..., ::-1]
    for a, b in zip(*both("max_pool", "max_pool", x, window=Window.of((2, 2), (2, 2))), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("x", "window"),
    [
        (np.zeros((2, 3, 8, 8)), Window.of((2, 2))),
        (np.zeros((2, 3, 4, 4, 4), np.float32), Window.of((2, 2, 2))),
        (np.zeros((2, 3, 20, 20), np.float32), Window.of((17, 17))),
        (np.zeros((0, 3, 4, 4), np.float32), Window.of((2, 2))),
    ],
)
def test_what_kernels_do_not_take_is_left_to_numpy(x, window):
    assert both("max_pool", "max_pool", x, window=window)[0] is None
