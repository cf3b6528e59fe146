"""The kernels of batch normalisation against the operators: both types, odd sizes, gaps, numbers far from zero, NaN."""

import inspect

import ml_dtypes
import numpy as np
import pytest

import torchlite as torch
from torchlite import ir
from torchlite.backends.native import kernel
from torchlite.ops.batch_norm import batch_norm

SIZES = [
    (2, 3, 8),
    (5, 1, 17),
    (40, 7, 5, 9),
    (3, 2, 40, 60),
    (130, 33, 4, 4),
    (1, 4, 2, 3, 5),
    (70, 33),
    (150, 9, 3),
    (16, 512, 1, 1),
    (3, 70, 31),
]
TYPES = [np.float32, ml_dtypes.bfloat16]


def draw(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).normal(size=shape).astype(np.float32)


def wide(x):
    return x.astype(np.float64)


def both(op, *arrays, **params):
    """What the kernel and what NumPy computes, that in double precision, each with how near they have to be."""
    fast = kernel(f"batch_norm.{op}")
    if fast is None:
        pytest.skip("kernels are switched off or can't be compiled")
    expected = inspect.unwrap(ir.REGISTRY[op].run)(np, *map(wide, arrays), **params)
    for got, exact in zip(fast(*arrays, **params), expected, strict=True):
        yield got, exact, 2.0**-8 if got.dtype == ml_dtypes.bfloat16 else 2e-5


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("shape", SIZES)
def test_batch_norm_and_its_gradient(shape, scaled, dtype):
    x = (draw(*shape) * 3 + 5).astype(dtype)
    scale_shift = [draw(shape[1], seed=i) for i in range(2 * scaled)]
    results = list(both("batch_norm", x, *scale_shift, eps=1e-5))
    for got, expected, tolerance in results:
        np.testing.assert_allclose(wide(got), expected, rtol=tolerance, atol=2e-5)
    statistics = [got for got, _, _ in results[1:]]
    g = draw(*shape, seed=7).astype(dtype)
    for got, expected, tolerance in both("batch_norm_grad", g, x, *statistics, *scale_shift[:1]):
        np.testing.assert_allclose(wide(got), expected, rtol=tolerance, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("shape", [(6, 3, 50), (100, 3, 2)])
def test_numbers_far_from_zero_keep_their_variance(shape):
    x = draw(*shape) + 3000
    for got, expected, _ in both("batch_norm", x, eps=1e-5):
        np.testing.assert_allclose(got, expected, rtol=2e-3, atol=2e-3)


def test_nan_stays_in_its_channel_and_gaps_are_read_over():
    x = draw(6, 4, 40)
    x[2, 1, 6] = np.nan
    x[4, 2, 8] = np.inf
    for got, expected, _ in both("batch_norm", x[..., ::2], draw(4), draw(4, seed=1), eps=1e-5):
        np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", TYPES)
def test_results_do_not_depend_on_the_number_of_threads(dtype):
    x, g = (draw(50, 6, 30, 30, seed=i).astype(dtype) for i in (0, 1))
    before, found = torch.get_num_threads(), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results = [got for got, _, _ in both("batch_norm", x, draw(6), draw(6, seed=1), eps=1e-5)]
        found.append([*results, *(got for got, _, _ in both("batch_norm_grad", g, x, *results[1:], draw(6)))])
    torch.set_num_threads(before)
    for one, two in zip(*found, strict=True):
        assert one.tobytes() == two.tobytes()


def test_gradients_of_gradients_and_of_statistics_agree_with_what_is_written_out():
    x = torch.from_numpy(wide(draw(3, 2, 4))).requires_grad_()
    weight, bias = (torch.from_numpy(wide(draw(2, seed=i))).requires_grad_() for i in (1, 2))
    F = torch.nn.functional
    assert torch.autograd.gradgradcheck(lambda x, *p: F.batch_norm(x, None, None, *p, True), (x, weight, bias))
    assert torch.autograd.gradcheck(lambda x, *p: batch_norm(x, p, 1e-5), (x, weight, bias))


def test_what_is_normalized_may_be_overwritten_and_is_not_kept():
    x = torch.from_numpy(draw(3, 2, 4)).requires_grad_()
    y = torch.nn.functional.batch_norm(x, None, None, training=True)
    expected = (y * 2).relu()
    (by_parts,) = torch.autograd.grad(expected.sum(), x, retain_graph=True)
    (in_place,) = torch.autograd.grad(y.mul_(2).relu_().sum(), x)
    np.testing.assert_array_equal(in_place.numpy(), by_parts.numpy())


def test_a_batch_norm_of_bfloat16_keeps_statistics_and_gradients_of_parameters_in_float32():
    x = torch.from_numpy(draw(3, 2, 4)).bfloat16().requires_grad_()
    weight, bias = (torch.ones(2).requires_grad_() for _ in range(2))
    y = torch.nn.functional.batch_norm(x, None, None, weight, bias, True)
    y.square().sum().backward()
    assert (y.dtype, x.grad.dtype) == (torch.bfloat16, torch.bfloat16)
    assert (weight.grad.dtype, bias.grad.dtype) == (torch.float32, torch.float32)
