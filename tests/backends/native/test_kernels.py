"""Every kernel gives what the operator computes with NumPy alone: odd sizes, memory with gaps, NaN and infinities."""

import inspect

import numpy as np
import pytest

import torchlite as torch
import torchlite.nn.functional
from torchlite import ir
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
    ("erf", {}), ("sigmoid", {}), ("silu", {}), ("gelu", {"approximate": "none"}), ("gelu", {"approximate": "tanh"})
]  # fmt: skip
SLOPES = [
    ("relu_grad", {}), ("tanh_grad", {}), ("sigmoid_grad", {}), ("silu_grad", {}),
    ("gelu_grad", {"approximate": "none"}), ("gelu_grad", {"approximate": "tanh"}),
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
