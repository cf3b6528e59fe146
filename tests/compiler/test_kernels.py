"""Fused operations in C give NumPy's results to the last bit, also of infinities, NaN and denormal numbers."""

import numpy as np
import pytest

import torchlite as torch
from torchlite.backends.native import toolchain

try:
    toolchain.compiler()
except toolchain.Unavailable:
    pytest.skip("there is no C compiler", allow_module_level=True)

SPECIAL = [0.0, -0.0, 1.0, -2.5, 3e38, -3e38, 1e-42, float("inf"), float("-inf"), float("nan")]


def arithmetic(x, y):
    z = x * y + x - y / 3
    z = torch.where(x > y, z.abs().sqrt(), -z)
    return (
        z,
        torch.maximum(x, y) * torch.minimum(x, z),
        z.square().reciprocal(),
        torch.relu(z) + 1,
        (z <= y) != (x == y),
    )


def same(f, *inputs):
    expected = f(*inputs)
    compiled = torch.compile(f)
    for _ in range(3):
        got = compiled(*inputs)
    for a, b in zip(expected, got, strict=True):
        assert a.dtype is b.dtype
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    return compiled


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_arithmetic(dtype):
    values = torch.tensor(SPECIAL, dtype=dtype)
    x, y = (t.contiguous() for t in torch.broadcast_tensors(values[:, None], values))
    assert "sqrt" in same(arithmetic, x, y).source
    x, y = torch.randn(3, 50, 700, dtype=dtype), torch.randn(3, 50, 700, dtype=dtype)
    same(arithmetic, x, y)


def test_a_product_and_a_sum_are_rounded_twice():
    x = torch.rand(1000)
    assert same(lambda x: (x * 1.1 + 0.3, x * x - x), x).source


def test_arrays_with_gaps():
    x = torch.randn(30, 40)
    same(arithmetic, x.t(), torch.randn(40, 30))
    same(arithmetic, x[:, ::2], torch.randn(30, 20))


def test_numbers_that_differ_from_call_to_call():
    f = torch.compile(lambda x, scale: (x * scale + scale) / 2)
    for i in range(5):
        np.testing.assert_array_equal(f(torch.ones(5), torch.tensor(float(i))).numpy(), np.full(5, i, np.float32))


@pytest.mark.parametrize(("variable", "value"), [("TORCHLITE_NATIVE", "0"), ("CC", "no-such-compiler")])
def test_without_c_it_is_numpy(variable, value, monkeypatch):
    monkeypatch.setenv(variable, value)
    x = torch.randn(20)
    assert same(arithmetic, x, x + 1).source == ""


def test_numbers_that_an_operator_gives_beside_others():
    same(
        lambda x: tuple((x * v + v) / 2 for v in torch.aminmax(x)) + tuple((x - v) * v for v in torch.sort(x[0, 0])),
        torch.randn(3, 4),
    )
