"""bfloat16 products and conversions against float64 and NumPy, by each way of multiplying tiles."""

import inspect
from itertools import product

import ml_dtypes
import numpy as np
import pytest

import torchlite
import torchlite.ops.pointwise  # registers operators
from torchlite import ir
from torchlite.backends.native import bfloat16, kernel
from torchlite.backends.native.library import Family

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
SIZES = [(1, 1, 1), (5, 7, 3), (32, 32, 32), (33, 65, 47), (64, 96, 128), (40, 1500, 70), (16, 3000, 16), (300, 8, 600)]


@pytest.fixture(autouse=True, scope="module")
def compiled():
    if kernel("bfloat16.matmul") is None:
        pytest.skip("kernels are switched off or can't be compiled")


@pytest.fixture(params=["as the processor allows", "without tile registers", "without AVX-512-BF16"])
def way(request, monkeypatch):
    """The same text with instruction sets undefined, so that what other processors run is run here."""
    undefined = {
        "as the processor allows": (),
        "without tile registers": ("__AMX_BF16__",),
        "without AVX-512-BF16": ("__AMX_BF16__", "__AVX512BF16__"),
    }[request.param]
    text = "".join(f"#undef {name}\n" for name in undefined)
    variant = Family(*bfloat16.C._files, **bfloat16.C._functions)
    variant.text = text + bfloat16.C.text
    monkeypatch.setattr(bfloat16, "C", variant)


def drawn(rng, shape, dtype, transposed=False):
    x = rng.normal(size=shape[:-2] + shape[:-3:-1] if transposed else shape).astype(np.float32).astype(dtype)
    return x.swapaxes(-1, -2) if transposed else x


def rounded(x):
    return x.astype(BFLOAT16).astype(np.float64)


def close(got, exact, terms, scale=1.0):
    """Within float32's rounding of so many additions, relative to what was added up."""
    assert np.abs(got.astype(np.float64) - exact).max() <= scale * 2e-7 * max(terms**0.5, 4)


@pytest.mark.parametrize(("rows", "k", "columns"), SIZES)
def test_products_of_either_type_and_layout(way, rows, k, columns):
    rng = np.random.default_rng(0)
    for left, right, x_turned, y_turned in product((np.float32, BFLOAT16), (np.float32, BFLOAT16), (0, 1), (0, 1)):
        x, y = drawn(rng, (rows, k), left, x_turned), drawn(rng, (k, columns), right, y_turned)
        exact = rounded(x) @ rounded(y)
        scale = (np.abs(rounded(x)) @ np.abs(rounded(y))).max()
        got = bfloat16.matmul(x, y, np.float32)
        assert got.dtype == np.float32
        close(got, exact, k, scale)
        half = bfloat16.matmul(x, y, BFLOAT16)
        assert half.dtype == BFLOAT16
        np.testing.assert_array_equal(half, got.astype(BFLOAT16))  # rounded once


def test_batches_broadcast_and_steps_may_be_anything(way):
    rng = np.random.default_rng(1)
    x, y = drawn(rng, (3, 1, 40, 50), BFLOAT16), drawn(rng, (2, 50, 60), BFLOAT16)
    for a, b in ((x, y), (x[..., ::2, ::-1], y[:, ::-1, ::3]), (x[:, :, 1:], y[..., 1:])):
        exact = rounded(a) @ rounded(b)
        close(bfloat16.matmul(a, b, np.float32), exact, 50, 50)


@pytest.mark.parametrize("dtype", [np.float32, BFLOAT16])
def test_linear_adds_the_bias_before_it_rounds(way, dtype):
    rng = np.random.default_rng(2)
    x, weight, bias = (drawn(rng, shape, dtype) for shape in ((70, 33), (45, 33), (1, 45)))
    exact = rounded(x) @ rounded(weight).T + bias[0].astype(np.float64)
    got = bfloat16.linear(x, weight, bias[0])
    assert got.dtype == dtype
    np.testing.assert_allclose(got.astype(np.float64), exact, rtol=2**-8 if dtype is BFLOAT16 else 1e-5, atol=1e-4)


def test_what_is_not_finite_reaches_its_row_and_column_alone(way):
    rng = np.random.default_rng(3)
    x, y = drawn(rng, (40, 37), BFLOAT16), drawn(rng, (37, 50), BFLOAT16)
    x[3, 5], x[35, 36], y[8, 49] = np.nan, np.inf, -np.inf
    got, exact = bfloat16.matmul(x, y, np.float32), rounded(x) @ rounded(y)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(exact))
    np.testing.assert_array_equal(got[np.isinf(exact)], exact[np.isinf(exact)])


def test_results_do_not_depend_on_threads(way):
    rng = np.random.default_rng(4)
    x, y = drawn(rng, (200, 1100), np.float32), drawn(rng, (1100, 300), np.float32)
    before = torchlite.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 5):
            torchlite.set_num_threads(threads)
            results += [bfloat16.matmul(x, y, BFLOAT16), bfloat16.matmul(x, y, np.float32)]
    finally:
        torchlite.set_num_threads(before)
    for got in results[2:]:
        np.testing.assert_array_equal(got, next(r for r in results if r.dtype == got.dtype))


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("order", ["C", "F"])
def test_casts_are_those_of_ml_dtypes(way, order):
    bits = np.arange(1 << 16, dtype=np.uint16)
    half = bits.view(BFLOAT16)
    np.testing.assert_array_equal(bfloat16.cast(half, dtype=np.float32), half.astype(np.float32))
    around = (bits.astype(np.uint32) << 16)[:, None] + np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
    x = np.asarray(around.view(np.float32), order=order)
    got, expected = bfloat16.cast(x, dtype=BFLOAT16), x.astype(BFLOAT16)
    there = ~np.isnan(x)
    np.testing.assert_array_equal(got.view(np.uint16)[there], expected.view(np.uint16)[there])
    assert np.isnan(got[~there]).all()
    assert bfloat16.cast(x.astype(np.float64), dtype=BFLOAT16) is None
    assert bfloat16.cast(x[::2, ::2], dtype=BFLOAT16) is None


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("op", ["add", "sub", "mul", "relu", "relu_grad", "leaky_relu", "leaky_relu_grad"])
def test_arithmetic_rounds_float32_once(op):
    bits = np.arange(1 << 16, dtype=np.uint16)
    x, y = (
        bits.view(BFLOAT16).reshape(256, 256),
        np.random.default_rng(6).permutation(bits).view(BFLOAT16).reshape(256, 256),
    )
    name = {"sub": "subtract", "mul": "multiply"}.get(op, op)
    arrays = (x,) if op in ("relu", "leaky_relu") else (x, y)
    params = {"negative_slope": 0.3} if "leaky" in op else {}
    with np.errstate(all="ignore"):
        wide = [a.astype(np.float32) for a in arrays]
        expected = inspect.unwrap(ir.REGISTRY[op].run)(np, *wide, **params).astype(BFLOAT16)
    got = getattr(bfloat16, name)(*arrays, **params)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    there = ~np.isnan(expected)
    np.testing.assert_array_equal(got.view(np.uint16)[there], expected.view(np.uint16)[there])
    turned = getattr(bfloat16, name)(*(a.T for a in arrays), **params)
    np.testing.assert_array_equal(turned.T.view(np.uint16), got.view(np.uint16))
    assert getattr(bfloat16, name)(*(a[:, ::2] for a in arrays), **params) is None
    if len(arrays) == 2:  # one of them as a gradient comes from a mean
        expanded = np.broadcast_to(x[:, :1], x.shape)
        same = getattr(bfloat16, name)(expanded.copy(), y, **params)
        np.testing.assert_array_equal(
            getattr(bfloat16, name)(expanded, y, **params).view(np.uint16), same.view(np.uint16)
        )
        assert getattr(bfloat16, name)(wide[0], wide[1].T) is None


@pytest.mark.parametrize(
    ("precision", "least", "most"), [("medium", 1e-4, 1e-2), ("high", 0, 1e-6), ("highest", 0, 1e-6)]
)
def test_float32_products_are_as_precise_as_is_asked(precision, least, most):
    rng = np.random.default_rng(7)
    x, y = (rng.normal(size=(128, 128)).astype(np.float32) for _ in range(2))
    exact = x.astype(np.float64) @ y.astype(np.float64)
    before = torchlite.get_float32_matmul_precision()
    torchlite.set_float32_matmul_precision(precision)
    try:
        got = (torchlite.from_numpy(x) @ torchlite.from_numpy(y)).numpy()
        x[3, 4] = np.inf
        infinite = (torchlite.from_numpy(x) @ torchlite.from_numpy(y)).numpy()
    finally:
        torchlite.set_float32_matmul_precision(before)
    assert least <= np.abs(got - exact).max() / np.abs(exact).max() <= most
    np.testing.assert_array_equal(infinite[3], np.inf * np.sign(y[4]))
    assert np.isfinite(np.delete(infinite, 3, 0)).all()
