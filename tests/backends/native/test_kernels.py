"""Every kernel gives what the operator computes with NumPy alone: odd sizes, memory with gaps, NaN and infinities."""

import inspect

import numpy as np
import pytest

import torchlite as torch
import torchlite.nn.functional
from torchlite import ir
from torchlite.backends import native
from torchlite.backends.native import kernel

SPECIAL = np.array(
    [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, -1e-40, 88.0, -88.0, 104.0, -104.0, 1e30, -1e30], np.float32
)


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def with_special(*shape, seed=0):
    x = draw(*shape, seed=seed) * 3
    x.reshape(-1)[: SPECIAL.size] = SPECIAL[: x.size]
    return x


def both(op, name, *arrays, **params):
    """The results of the kernel and of the operator without it."""
    fast = kernel(name)
    if fast is None:
        pytest.skip("kernels are switched off or can't be compiled")
    with np.errstate(all="ignore"):
        return fast(*arrays, **params), inspect.unwrap(ir.REGISTRY[op].run)(np, *arrays, **params)


def same(op, name, *arrays, rtol=2e-6, atol=1e-6, **params):
    before = [array.copy() for array in arrays]
    got, expected = both(op, name, *arrays, **params)
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)
    assert got is not None
    for a, b in zip(
        got if type(got) is tuple else (got,), expected if type(got) is tuple else (expected,), strict=True
    ):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


ACTIVATIONS = [
    ("erf", {}), ("sigmoid", {}), ("silu", {}), ("gelu", {"approximate": "none"}), ("gelu", {"approximate": "tanh"}),
    *(("leaky_relu", {"negative_slope": slope}) for slope in (0.2, 1.5, -0.5)),
]  # fmt: skip
SLOPES = [
    ("relu_grad", {}), ("tanh_grad", {}), ("sigmoid_grad", {}), ("silu_grad", {}),
    ("gelu_grad", {"approximate": "none"}), ("gelu_grad", {"approximate": "tanh"}),
    ("leaky_relu_grad", {"negative_slope": 0.2}),
]  # fmt: skip
SIZES = [(0,), (1,), (17,), (3, 5, 7), (40_001,)]


@pytest.mark.parametrize(("name", "params"), ACTIVATIONS)
@pytest.mark.parametrize("shape", SIZES)
def test_activations(name, params, shape):
    same(name, f"elementwise.{name}", with_special(*shape), **params)


@pytest.mark.parametrize(("name", "params"), SLOPES)
@pytest.mark.parametrize("shape", SIZES)
def test_gradients_of_activations(name, params, shape):
    same(name, f"elementwise.{name}", draw(*shape), with_special(*shape, seed=1), atol=4e-6, **params)


@pytest.mark.parametrize("name", ["gelu", "silu", "erf", "sigmoid"])
def test_activations_are_as_exact_as_float32_allows(name):
    x = np.linspace(-12, 12, 100_001).astype(np.float32)
    params = {"approximate": "none"} if name == "gelu" else {}
    got, expected = both(name, f"elementwise.{name}", x.astype(np.float32), **params)
    wide = inspect.unwrap(ir.REGISTRY[name].run)(np, x.astype(np.float64), **params)
    error, of_numpy = np.abs(got - wide), np.abs(expected - wide)
    assert error.max() <= max(2 * of_numpy.max(), 2e-7)


def test_results_lie_in_memory_as_their_inputs_do():
    same("gelu", "elementwise.gelu", draw(30, 20).T, approximate="none")
    same("gelu_grad", "elementwise.gelu_grad", draw(20, 30), draw(30, 20).T, approximate="none")
    same("where", "elementwise.where", draw(20, 30) > 0, with_special(20, 30), draw(20, 30, seed=1))
    same("where", "elementwise.where", (draw(30, 20) > 0).T, draw(30, 20).T, draw(30, 20, seed=1).T)
    same("relu_grad", "elementwise.relu_grad", np.broadcast_to(np.float32(2), (20, 30)), draw(20, 30))


@pytest.mark.parametrize("array", [draw(20, 30)[:, ::2], draw(20).astype(np.float64), draw(20).astype(np.float16)])
def test_what_kernels_do_not_take_is_left_to_numpy(array):
    assert both("silu", "elementwise.silu", array)[0] is None


def test_large_tensors_take_the_kernel(monkeypatch):
    from torchlite.backends import native

    x = torch.from_numpy(draw(300, 300))
    called = []
    monkeypatch.setattr(native, "kernel", lambda name: called.append(name))
    torch.nn.functional.gelu(x)
    torch.nn.functional.gelu(x[:10])
    assert called == ["elementwise.gelu"]


@pytest.mark.parametrize("shape", [(1, 1), (3, 0), (5, 7), (2, 3, 65), (70, 1000)])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_and_its_gradient(name, shape):
    x = draw(*shape) * 5
    same(name, f"rows.{name}", x, dim=len(shape) - 1)
    same(name, f"rows.{name}", x[..., ::-1], dim=len(shape) - 1)
    out = inspect.unwrap(ir.REGISTRY[name].run)(np, x, dim=len(shape) - 1) if x.size else x
    same(f"{name}_grad", f"rows.{name}_grad", draw(*shape, seed=1), out, dim=len(shape) - 1, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_softmax_of_special_numbers(special):
    x = draw(6, 33)
    x[0, 3], x[1], x[2, :16] = special, special, special
    for name in ("softmax", "log_softmax"):
        same(name, f"rows.{name}", x, dim=1)


def test_softmax_along_another_dimension_is_left_to_numpy():
    assert both("softmax", "rows.softmax", draw(5, 6), dim=0)[0] is None


NORMS = [((6, 40), (1,)), ((4, 3, 5, 7), (0, 2, 3)), ((2, 3, 40), (2,)), ((7, 2, 4, 9), (2, 3)), ((3000, 8), (1,)),
         ((50, 3, 100), (0, 2)), ((1, 1, 20_000), (2,))]  # fmt: skip


@pytest.mark.parametrize(("shape", "dims"), NORMS)
def test_standardize_and_its_gradient(shape, dims):
    x = draw(*shape) * 3 + 10
    same("standardize", "normalization.standardize", x, dims=dims, eps=1e-5, rtol=1e-5, atol=1e-5)
    kept = [1 if d in dims else n for d, n in enumerate(shape)]
    g, scale = draw(*shape, seed=1), np.abs(draw(*kept, seed=2)) + 1
    same("standardize_grad", "normalization.standardize_grad", g, draw(*shape, seed=3), scale, dims=dims, atol=1e-5)


PARAMETERS = [((6, 40), (40,)), ((4, 3, 5, 7), (1, 3, 1, 1)), ((4, 3, 5, 7), (5, 7)), ((4, 3, 5, 7), (3, 5, 7)),
              ((2000, 33), (33,)), ((900, 70), (1, 70)), ((3, 900), (3, 1)), ((5, 9), ()), ((1, 30), (1, 1))]  # fmt: skip


@pytest.mark.parametrize(("shape", "parameter"), PARAMETERS)
def test_affine_and_sums(shape, parameter):
    x, y = draw(*shape), draw(*shape, seed=1)
    same("affine", "normalization.affine", x, draw(*parameter, seed=2), draw(*parameter, seed=3))
    same("sum_of_products", "normalization.sum_of_products", x, y, shape=parameter, atol=2e-4)


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize(
    ("shape", "dims"),
    [
        ((6, 40), (0,)),
        ((6, 40), (1,)),
        ((3, 4, 5, 9), (0, 2, 3)),
        ((3, 4, 5, 9), (0, 1)),
        ((5, 9), (0, 1)),
        ((1,), (0,)),
    ],
)
def test_sums_over_dimensions(shape, dims, keepdim):
    same("sum", "normalization.sum_over", draw(*shape), dims=dims, keepdim=keepdim, atol=1e-5)


def test_statistics_keep_nan_where_it_is():
    x = draw(6, 40)
    x[2, 3] = np.nan
    same("standardize", "normalization.standardize", x, dims=(1,), eps=1e-5, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dims", [(0,), (0, 2), (1, 3)])
def test_statistics_over_other_dimensions_are_left_to_numpy(dims):
    result, _ = both("standardize", "normalization.standardize", draw(5, 4, 9, 3), dims=dims, eps=1e-5)
    assert result is None


def test_sums_over_many_numbers_are_exact():
    x = np.full((2, 3, 1 << 20), 0.1, np.float32)
    fast, _ = both("sum", "normalization.sum_over", x, dims=(0, 2), keepdim=False)
    np.testing.assert_allclose(fast, x.astype(np.float64).sum((0, 2)), rtol=2e-6)


def test_operators_of_float32_ask_for_no_kernel_of_bfloat16(monkeypatch):
    names = []
    monkeypatch.setattr(native, "kernel", lambda name: names.append(name) or kernel(name))
    x, weight = torch.randn(8, 8, 32, 32, requires_grad=True), torch.randn(8, 8, 3, 3, requires_grad=True)
    y = (torch.nn.functional.conv2d(x, weight, padding=1).relu() * x + x).double().float().flatten(1)
    torch.nn.functional.linear(y, y).sum().backward()
    assert "convolution.weight_grad" in names
    assert not [name for name in names if name.startswith("bfloat16")]
