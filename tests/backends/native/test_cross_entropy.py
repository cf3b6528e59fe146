"""The kernels of cross-entropy against the operator: ignored rows, reductions, large logits, targets outside."""

import inspect

import numpy as np
import pytest

import torchlite as torch
from torchlite import ir
from torchlite.backends.native import kernel

SIZES = [(1, 1), (5, 3), (768, 65), (70, 1000), (3, 16), (33, 150)]


def drawn(rows, classes):
    rng = np.random.default_rng((rows, classes))
    target = rng.integers(0, classes, rows)
    target[rng.random(rows) < 0.2] = -7
    target[0] = 0
    return (rng.normal(size=(rows, classes)) * 4).astype(np.float32), target


def both(op, *arrays, **params):
    """What the kernel and what NumPy computes, that in double precision."""
    fast = kernel(f"cross_entropy.{op}")
    if fast is None:
        pytest.skip("kernels are switched off or can't be compiled")
    wide = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in arrays]
    results = fast(*arrays, **params), inspect.unwrap(ir.REGISTRY[op].run)(np, *wide, **params)
    return zip(*(x if type(x) is tuple else (x,) for x in results), strict=True)


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("size", SIZES)
def test_cross_entropy_and_its_gradient(size, reduction):
    x, target = drawn(*size)
    params = {"ignore_index": -7, "reduction": reduction}
    results = list(both("cross_entropy", x, target, **params))
    for got, expected in results:
        np.testing.assert_allclose(got, expected, rtol=3e-6, atol=2e-6)
    g = np.full(target.shape if reduction == "none" else (), 1.5, np.float32)
    for got, expected in both("cross_entropy_grad", g, x, target, results[1][0], results[2][0], **params):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=2e-6)


def test_large_and_unordered_logits():
    x, target = drawn(40, 20)
    x[3, 4], x[5, 6], x[7], x[9, target[9]] = np.nan, np.inf, -np.inf, -1e30
    for got, expected in both("cross_entropy", x * np.float32(1e4), target, ignore_index=-7, reduction="none"):
        np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_logarithms_of_sums_are_as_exact_as_the_sums():
    others = np.linspace(-20.0, 0.0, 4000, dtype=np.float32)
    for classes in (2, 3, 40):
        x = np.zeros((len(others), classes), np.float32)
        x[:, 1:] = others[:, None]
        _, (lse, expected), _ = both("cross_entropy", x, np.zeros(len(x), int), ignore_index=-7, reduction="sum")
        np.testing.assert_allclose(lse, expected, rtol=2**-22, atol=2**-21)


@pytest.mark.parametrize("rows", [3, 800])
@pytest.mark.parametrize("outside", [-1, 9])
def test_a_target_outside_is_named(rows, outside):
    logits, target = torch.zeros(rows, 9), torch.zeros(rows, dtype=torch.int64)
    target[rows // 2] = outside
    with pytest.raises(IndexError, match=f"Target {outside} is out of bounds: the logits have 9 classes"):
        torch.nn.functional.cross_entropy(logits, target)


def test_everything_ignored_gives_nan_without_a_gradient():
    logits = torch.zeros(600, 9, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(logits, torch.full((600,), -100))
    loss.backward()
    assert loss.isnan()
    assert not logits.grad.any()
