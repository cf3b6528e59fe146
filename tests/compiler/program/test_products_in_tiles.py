"""float32 products in tile registers: no less exact than those of multiply-adds, whatever the numbers are like.

Where the processor has no tile registers both are the same.
"""

import re

import compiled_together
import numpy as np
import pytest
from compiled_together import steps_with

import torchlite as torch
import torchlite.nn.functional as functional
from torchlite.backends.native import products, toolchain

try:
    toolchain.compiler()
except toolchain.Unavailable:
    pytest.skip("there is no C compiler", allow_module_level=True)

M, N, K = 270, 90, 300  # which are no multiples of what is computed at once
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def as_before():
    yield
    torch.backends.mkldnn.matmul.fp32_precision = "none"


def together(cases, precision="none"):
    """What functions give for their tensors as one program, and its C."""
    torch.backends.mkldnn.matmul.fp32_precision = precision
    with np.errstate(all="ignore"):
        results, source = compiled_together.run(cases)
    return [out.numpy().copy() for out in results], source


def compiled(f, *inputs):
    """What a compiled function gives, and its C."""
    (out,), source = together([(f, inputs)])
    return out, source


def product(x, y):
    return x @ y


def both(x, y, f=product):
    """In tiles and by multiply-adds."""
    return next(both_together([(x, y)], f))


def both_together(pairs, f):
    """The same of several pairs in one program."""
    cases = [(f, [torch.from_numpy(a.astype(np.float32)) for a in pair]) for pair in pairs]
    (tiles, source), (plain, other) = (together(cases, how) for how in ("none", "ieee"))
    assert steps_with("multiply_split", source) == len(cases)
    assert steps_with("multiply_split", other) == 0
    found = re.findall(r"multiply_split\(&\(Product\)\{[^,]*, [^,]*, \d+, \d+, (\d+), .*, (\d+)\);", source)
    assert len(found) == len(cases)
    assert all(int(depth) >= int(k) for k, depth in found)  # without tiles
    return zip(tiles, plain, strict=True)


def powers(*shape, decades):
    return 10.0 ** RNG.uniform(-decades, decades, shape)


def normal(*shape, scale=1.0):
    return RNG.normal(size=shape) * scale


def cancelling():
    x, y = normal(M, K), normal(K, N)
    x[:, K // 2 :] = -x[:, : K // 2]
    y[K // 2 :] = y[: K // 2] * (1 + 1e-6 * normal(K // 2, N))
    return x, y


DATA = {
    "normal": lambda: (normal(M, K), normal(K, N)),
    "uniform": lambda: (RNG.random((M, K)), RNG.random((K, N))),
    "sparse": lambda: (np.maximum(normal(M, K), 0), normal(K, N) * (RNG.random((K, N)) < 0.1)),
    "cancelling": cancelling,
    **{
        f"{a} by {b}": lambda a=a, b=b: (normal(M, K, scale=a), normal(K, N, scale=b))
        for a, b in [
            (1e-45, 1.0), (1.0, 1e-38), (1e-30, 1.0), (1.0, 1e-20), (1e-10, 1e-10), (1e-15, 1e-15), (1e-20, 1e-20),
            (1e30, 1.0), (1.0, 1e36), (1e18, 1e18), (1e37, 1e-38), (1e20, 1e-20),
        ]
    },
    **{
        f"{decades} decades": lambda d=decades: (
            normal(M, K) * powers(M, K, decades=d),
            normal(K, N) * powers(K, N, decades=d),
        )
        for decades in (3, 8, 12, 18)
    },
    **{
        f"rows of {decades} decades": lambda d=decades: (
            normal(M, K) * powers(M, 1, decades=d),
            normal(K, N) * powers(1, N, decades=d),
        )
        for decades in (8, 18)
    },
}  # fmt: skip


@pytest.mark.parametrize("data", DATA)
def test_errors_are_at_most_those_of_multiply_adds(data):
    x, y = (a.astype(np.float32) for a in DATA[data]())
    tiles, plain = both(x, y)
    exact = x.astype(np.float64) @ y.astype(np.float64)
    scale = np.abs(x).astype(np.float64) @ np.abs(y).astype(np.float64) + 1e-300
    errors, plain_errors = (np.maximum(np.abs(got - exact) - 2**-149, 0) / scale for got in (tiles, plain))
    assert np.isfinite(errors).all()
    assert errors.max() <= plain_errors.max()
    assert np.square(errors).mean() <= np.square(plain_errors).mean()


def test_what_is_not_finite_is_that_of_multiply_adds():
    x, y = normal(M, K), normal(K, N)
    x[3, 5], x[40, 7], x[100], y[2, 8], y[9, 70] = np.inf, np.nan, 0.0, -np.inf, np.nan
    y[5, 11], x[250, 5] = 0.0, 3e38
    tiles, plain = both(x, y)
    np.testing.assert_array_equal(np.isnan(tiles), np.isnan(plain))
    np.testing.assert_array_equal(np.isinf(tiles), np.isinf(plain))
    np.testing.assert_allclose(tiles, plain, rtol=1e-4, atol=1e-4)


def test_every_layout_and_edge():
    cases, exact = [], []
    sizes = [(256, 64, 260), (257, 65, 257), (300, 111, 129), (256, 600, 96), (290, 80, 700), (1100, 64, 1100)]
    for m, n, k in sizes:
        assert products.pays_in_tiles(m, n, k)
        x, y = (a.astype(np.float32) for a in (normal(m, k), normal(k, n)))
        layouts = [(x, np.ascontiguousarray(y.T).T), (np.ascontiguousarray(x.T).T, y)]
        if m == 257:
            layouts.append((np.repeat(x, 2, 1)[:, ::2], y))
        cases += [(product, [torch.from_numpy(a) for a in layout]) for layout in layouts]
        exact += [x.astype(np.float64) @ y.astype(np.float64)] * len(layouts)
    results, source = together(cases)
    assert steps_with("multiply_split", source) == len(cases)
    for (_, (left, _)), out, expected in zip(cases, results, exact, strict=True):
        np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5 * np.sqrt(left.shape[1]))


def test_gradients_of_wide_batches_are_divided_along_the_batch():
    pairs = []
    for m, n, k in [(270, 96, 770), (100, 530, 770), (128, 128, 770), (400, 600, 770)]:
        assert products.pays_in_tiles(m, n, k)
        assert products.division_in_tiles(m, n, k, 1)[2] < k
        pairs.append((normal(k, m), normal(k, n)))
    for tiles, plain in both_together(pairs, lambda g, x: g.t() @ x * 0.5):
        np.testing.assert_allclose(tiles, plain, rtol=1e-4, atol=1e-4)


def test_gradients_of_large_weights_of_few_samples():
    pairs = []
    for m, n, k in [(128, 4128, 64), (100, 5250, 70)]:
        assert products.pays_in_tiles(m, n, k)
        pairs.append((normal(k, m), normal(k, n)))
    for (g, x), (tiles, plain) in zip(pairs, both_together(pairs, lambda g, x: g.t() @ x * 0.5), strict=True):
        exact = 0.5 * g.astype(np.float32).astype(np.float64).T @ x.astype(np.float32)
        assert np.square(tiles - exact).mean() <= np.square(plain - exact).mean()
        np.testing.assert_allclose(tiles, plain, rtol=1e-4, atol=1e-4)


def test_batches_and_what_follows():
    x, y = normal(3, M, K), normal(3, K, N)
    bias = torch.from_numpy(normal(N).astype(np.float32))
    tiles, plain = both(x, y, lambda x, y: functional.gelu(x @ y * 0.1 + bias))
    np.testing.assert_allclose(tiles, plain, rtol=1e-5, atol=1e-5)


def test_results_do_not_depend_on_the_number_of_threads():
    x, y = (torch.from_numpy(a.astype(np.float32)) for a in (normal(800, 770), normal(770, 600)))
    wide = torch.from_numpy(normal(800, 90).astype(np.float32))
    few = torch.from_numpy(normal(64, 4200).astype(np.float32))
    cases = [
        (product, (x, y)), (lambda x, y: (x[:300] @ y[:, :70]).exp(), (x, y)),
        *((lambda g, x: g.t() @ x, pair) for pair in ((wide, x), (few[:, :128], few))),
    ]  # fmt: skip
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(together(cases)[0])
    finally:
        torch.set_num_threads(before)
    for others in results[1:]:
        for a, b in zip(results[0], others, strict=True):
            np.testing.assert_array_equal(a, b)


def test_small_products_stay_as_they_are():
    x, y = (torch.from_numpy(a.astype(np.float32)) for a in (normal(64, 128), normal(128, 784)))
    assert steps_with("multiply_split", compiled(product, x, y)[1]) == 0
