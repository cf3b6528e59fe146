"""Kernels of pooling and batch normalisation of channels that lie side by side, against the operators on NumPy."""

import ctypes
import inspect

import numpy as np
import pytest

from torchlite import ir
from torchlite.backends.native import library, normalization_nhwc, pooling_nhwc
from torchlite.ops.windows import Window

WINDOWS = [
    ((3, 8, 12, 64), Window.of((2, 2), (2, 2))),
    ((2, 9, 11, 5), Window.of((3, 3), (2, 2), (1, 1))),
    ((2, 9, 11, 19), Window.of((3, 2), (1, 3), (1, 1), (2, 1))),
    ((1, 7, 8, 16), Window.of((3, 3), (2, 2), (1, 1), ceil=True)),
    ((1, 40, 8, 3), Window.of((2, 2), (3, 3))),
]
NORMS = [(2, 9, 11, 5), (3, 8, 8, 64), (128, 8, 8, 16), (1, 2, 3, 33), (1, 1, 1, 5000)]
HEADERS = ("parallel.h", "vectors.h", *pooling_nhwc.HEADERS, *normalization_nhwc.HEADERS[1:])
EPS = 1e-5


def pooled(x, window):
    n, h, w, c = x
    return n, *window.out_size("max_pool", (h, w)), c


@pytest.fixture(scope="module")
def functions(needs_compiler):
    text = [library.text(*HEADERS)]
    for i, (x, window) in enumerate(WINDOWS):
        text.append(pooling_nhwc.max_pool(f"pool{i}", x, pooled(x, window), window).text)
        text.append(pooling_nhwc.spread(f"spread{i}", pooled(x, window), x, window).text)
        text.append(f"void call_pool{i}(float *x, float *out, uint8_t *p) {{ pool{i}(x, out, p); }}\n")
        text.append(f"void call_spread{i}(float *g, uint8_t *p, float *out) {{ spread{i}(g, p, out, 0, 0, 0); }}\n")
    for i, x in enumerate(NORMS):
        positions = x[0] * x[1] * x[2]
        text.append(normalization_nhwc.moments(f"norm{i}", positions, x[3], EPS).text)
        text.append(normalization_nhwc.standardize_grad(f"back{i}", positions, x[3]).text)
        text.append(
            f"void call_norm{i}(float *x, float *mean, float *scale, float *scratch) {{ norm{i}(x, mean, scale, scratch); }}\n"
            f"void call_back{i}(float *g, float *y, float *scale, float *out, float *scratch)"
            f"{{ back{i}(g, y, scale, out, scratch); }}\n"
        )
    return library.load("".join(text))


def call(function, *arrays):
    function(*[ctypes.c_void_p(array.ctypes.data) for array in arrays])


def beside(x):
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


def reference(op, *arrays, **params):
    with np.errstate(all="ignore"):
        return inspect.unwrap(ir.REGISTRY[op].run)(np, *arrays, **params)


@pytest.mark.parametrize("index", range(len(WINDOWS)))
@pytest.mark.parametrize("values", ["plain", "special"])
def test_pooling(functions, index, values):
    rng = np.random.default_rng(index)
    (n, h, w, c), window = WINDOWS[index]
    x = rng.integers(-3, 4, (n, c, h, w)).astype(np.float32)  # with many equal numbers
    if values == "special":
        x = rng.choice(np.array([np.nan, -np.inf, np.inf, 0.0, 1.0], np.float32), x.shape, p=[0.1, 0.6, 0.1, 0.1, 0.1])
    best, places = reference("max_pool", x, window=window)
    got, where = np.empty(beside(best).shape, np.float32), np.empty(beside(best).shape, np.uint8)
    call(getattr(functions, f"call_pool{index}"), beside(x), got, where)
    np.testing.assert_array_equal(got, beside(best))
    np.testing.assert_array_equal(where, beside(places))
    g, out = rng.normal(size=best.shape).astype(np.float32), np.full((n, h, w, c), np.nan, np.float32)
    call(getattr(functions, f"call_spread{index}"), beside(g), where, out)
    expected = reference("spread_to_windows", g, places, window=window, size=(h, w))
    np.testing.assert_allclose(out, beside(expected), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("index", range(len(NORMS)))
def test_batch_norm(functions, index):
    rng = np.random.default_rng(index)
    shape = NORMS[index]
    x = (rng.normal(size=shape) * 0.01 + 300).astype(np.float32)  # of which most digits cancel
    mean, scale = np.empty(shape[3], np.float32), np.empty(shape[3], np.float32)
    scratch = np.empty(normalization_nhwc.standardize_grad("", 1, shape[3]).scratch, np.float32)
    call(getattr(functions, f"call_norm{index}"), x, mean, scale, scratch)
    wide = x.astype(np.float64)
    middle, variance = wide.mean((0, 1, 2)), wide.var((0, 1, 2))
    np.testing.assert_allclose(mean, middle, rtol=1e-6)
    np.testing.assert_allclose(scale, 1 / np.sqrt(variance + EPS), rtol=1e-5)
    g, y, got = (rng.normal(size=shape).astype(np.float32) for _ in range(3))
    call(getattr(functions, f"call_back{index}"), g, y, scale, got, scratch)
    expected = reference("standardize_grad", *(a.astype(np.float64) for a in (g, y, scale)), dims=(0, 1, 2))
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6 * np.abs(expected).max())
