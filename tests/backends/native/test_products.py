"""Products in C against float64: every layout and edge, NaN and infinities, threads, and what is left to BLAS."""

import inspect

import numpy as np
import pytest

import torchlite as torch
import torchlite.nn.functional
from torchlite import ir
from torchlite.backends import native
from torchlite.backends.native import products
from torchlite.ops.contraction import product


@pytest.fixture(autouse=True)
def _compiled(monkeypatch):
    if native.kernel("products.matmul") is None:
        pytest.skip("kernels are switched off or can't be compiled")
    monkeypatch.setattr(products, "_worth_it", lambda *sizes: True)
    products._sizes.cache_clear()
    yield
    products._sizes.cache_clear()


def draw(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).normal(size=shape).astype(np.float32)


def layouts(matrix):
    """The same numbers in rows, in columns, with gaps, and backward in memory."""
    gaps = np.zeros((*matrix.shape, 3), np.float32)
    gaps[..., 1] = matrix
    return matrix, np.ascontiguousarray(matrix.T).T, gaps[..., 1], np.ascontiguousarray(matrix[::-1, ::-1])[::-1, ::-1]


def check(x, y, bias=None):
    exact = np.matmul(x.astype(np.float64), y.astype(np.float64))
    got = products.matmul(x, y, bias)
    assert got.shape == exact.shape
    scale = np.abs(x).astype(np.float64) @ np.abs(y).astype(np.float64)
    assert (np.abs(got - exact - (0 if bias is None else bias)) <= 2e-6 * scale + 1e-6).all()


@pytest.mark.parametrize("k", [0, 1, 16, 37, 129, 300])
@pytest.mark.parametrize("n", [1, 10, 16, 33, 48, 64, 65, 130])
@pytest.mark.parametrize("m", [1, 5, 6, 13, 64])
def test_every_tile_and_its_edges(m, n, k):
    x, y = draw(m, k), draw(k, n, seed=1)
    check(x, y, draw(n, seed=2))
    check(x, np.ascontiguousarray(y.T).T)


@pytest.mark.parametrize("k", [64, 128, 131, 300])
@pytest.mark.parametrize("n", [1, 2, 3, 10, 15])
@pytest.mark.parametrize("m", [1, 7, 8, 67])
def test_narrow_results_of_long_rows(m, n, k):
    x, y = draw(m, k + 3)[:, :k], draw(n, k, seed=1).T
    check(x, y)
    check(x, y, draw(n, seed=2))


def test_layouts():
    for x in layouts(draw(29, 141)):
        for y in layouts(draw(141, 83, seed=1)):
            check(x, y)
    check(np.broadcast_to(draw(1, 40), (30, 40)), np.broadcast_to(draw(40, 1), (40, 50)))


@pytest.mark.parametrize("n", [65, 68, 69, 130, 257])
def test_few_columns_beside_whole_panels(n):
    x, y = draw(410, 300), draw(n, 300, seed=1).T
    check(x, y, draw(n, seed=2))
    whole = n // 64 * 64
    np.testing.assert_array_equal(products.matmul(x, y)[:, :whole], products.matmul(x, y[:, :whole]))
    np.testing.assert_array_equal(products.matmul(x[:30], y), products.matmul(x, y)[:30])


@pytest.mark.parametrize(
    ("left", "right"), [((3, 4), ()), ((), (3, 4)), ((3, 1), (4,)), ((5,), (5,)), ((0,), (0,)), ((2, 3), (1, 3))]
)
def test_batches_are_broadcast(left, right):
    check(draw(*left, 17, 20), draw(*right, 20, 35, seed=1))
    check(draw(*left, 20, 17).swapaxes(-1, -2), draw(*right, 35, 20, seed=1).swapaxes(-1, -2))


@pytest.mark.parametrize(
    ("m", "n", "k"), [(400, 80, 300), (64, 700, 200), (30, 40, 70_000), (800, 129, 130), (70, 180, 770)]
)
def test_products_that_several_tasks_share(m, n, k):
    x, y = draw(m, k), draw(k, n, seed=1)
    check(x, y, draw(n, seed=2))
    assert any(part < whole for part, whole in zip(products.division(m, n, k, 1, False), (m, n, k), strict=True))


def test_tasks_that_transpose_have_more_rows_where_enough_are_left():
    for m, n, k in [(768, 384, 128), (2048, 512, 128), (768, 512, 500)]:
        (rows, columns, _), (others, *_) = (products.division(m, n, k, 1, transposed) for transposed in (True, False))
        assert others < rows <= (512 if k <= 128 else 384)
        assert -(-m // rows) * -(-n // columns) >= 8
    for n in (65, 128):
        assert products.division(768, n, 128, 1, True) == products.division(768, n, 128, 1, False)


def test_a_row_does_not_depend_on_those_beside_it():
    x, y = draw(500, 300), draw(300, 130, seed=1)
    for rows in (1, 5, 100):
        np.testing.assert_array_equal(products.matmul(x[:rows], y), products.matmul(x, y)[:rows])


def test_results_do_not_depend_on_the_number_of_threads():
    pairs = [(draw(400, 300), draw(300, 200)), (draw(60, 20_000), draw(20_000, 50))]
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append([products.matmul(x, y) for x, y in pairs])
    finally:
        torch.set_num_threads(before)
    for others in results[1:]:
        for a, b in zip(results[0], others, strict=True):
            np.testing.assert_array_equal(a, b)


def test_nan_and_infinities_reach_what_they_belong_to_and_nothing_else():
    x, y = draw(30, 40), draw(40, 70, seed=1)
    x[3, 5], x[7, 0], y[2, 68] = np.nan, np.inf, -np.inf
    y[0, 10] = 0.0
    with np.errstate(invalid="ignore"):
        expected = np.matmul(x.astype(np.float64), y.astype(np.float64))
    np.testing.assert_allclose(products.matmul(x, y), expected, rtol=1e-4, atol=1e-4)
    assert np.isnan(products.matmul(x, y)[7, 10])


@pytest.fixture
def called(monkeypatch):
    """The names of the kernels that operators call."""
    names = []
    real = native.kernel
    monkeypatch.setattr(native, "kernel", lambda name: names.append(name) or real(name))
    return names


def test_what_the_kernel_does_not_take():
    assert products.matmul(draw(4, 5).astype(np.float64), draw(5, 6).astype(np.float64)) is None
    assert products.matmul(draw(4, 5), draw(4, 6)) is None  # and NumPy says what is wrong
    assert products.matmul(draw(2, 2, 2, 4, 5), draw(5, 6)) is None
    assert products.linear(draw(4, 5), draw(6, 5), draw(7)) is None


def test_large_products_of_operators_take_the_kernel(called):
    x, weight, bias = (torch.from_numpy(a).requires_grad_() for a in (draw(90, 80), draw(70, 80, seed=1), draw(70)))
    out = torch.nn.functional.linear(x, weight, bias)
    out.backward(torch.ones_like(out))
    torch.mm(x[:4], weight.t())
    assert called.count("products.linear") == 1
    assert called.count("products.matmul") == 2
    np.testing.assert_allclose(
        weight.grad.numpy(), np.ones((70, 90), np.float32) @ x.detach().numpy(), rtol=1e-4, atol=1e-4
    )


def test_linear_adds_its_bias_in_the_same_pass():
    x, weight, bias = draw(90, 80), draw(70, 80, seed=1), draw(140, seed=2)[::2]
    expected = inspect.unwrap(ir.REGISTRY["linear"].run)(np, *(a.astype(np.float64) for a in (x, weight, bias)))
    np.testing.assert_allclose(products.linear(x, weight, bias), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("m", "k", "n"), [(64, 128, 10), (64, 10, 128), (16, 64, 128), (40, 40, 40), (48, 300, 65)])
def test_small_products_are_the_same_without_ctypes(m, k, n):
    bias = draw(n, seed=2)
    for x in layouts(draw(m, k)):
        for y in layouts(draw(k, n, seed=1)):
            for added in (None, bias):
                got = products.C.small_product(x, y, added)
                assert got.flags.owndata
                np.testing.assert_array_equal(got, products.matmul(x, y, added))


def test_small_products_that_are_left_to_numpy():
    x, y = draw(64, 128), draw(128, 32, seed=1)
    unaligned = np.frombuffer(bytearray(1) + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape)
    for left, right in [
        (x.astype(np.float64), y), (x, y.astype(np.int32)), (x.astype(">f4"), y), (unaligned, y), (x[None], y), (x, y[:, 0]),
        (x[:, :4], y), (x[:3], y), (x, y[:, :2]), (x[:14], np.ascontiguousarray(y.T).T), (x[:0], y), (x, y[:, :0]),
    ]:  # fmt: skip
        assert products.C.small_product(left, right, None) is None
    for bias in (draw(31), draw(64)[::2], draw(32).astype(np.float64), draw(1, 32)):
        assert products.C.small_product(x, y, bias) is None
    with pytest.raises(TypeError, match="expects an array"):
        products.C.small_product(x, [1.0], None)
    with pytest.raises(TypeError, match="expects a matrix"):
        products.C.small_product(None, y, None)


def test_small_products_of_operators_take_the_kernel(called):
    x, weight, bias = (torch.from_numpy(a).requires_grad_() for a in (draw(64, 128), draw(10, 128, seed=1), draw(10)))
    out = torch.nn.functional.linear(x, weight, bias)
    out.sum().backward()
    torch.mm(x[:20], weight.t())
    assert called == ["products.small_product"] * 3
    x, weight, bias = (a.numpy(force=True) for a in (x, weight, bias))
    np.testing.assert_allclose(out.numpy(force=True), x @ weight.T + bias, rtol=1e-4, atol=1e-5)


def test_operands_of_different_dtypes_are_refused_whatever_their_size():
    with pytest.raises(RuntimeError, match="same dtype"):
        product(np, draw(80, 80), draw(80, 80).astype(np.float64))
