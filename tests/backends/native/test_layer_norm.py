"""The kernels of layer normalisation against the operators: with and without scale and shift, odd sizes, gaps, NaN."""

import inspect

import numpy as np
import pytest

import torchlite as torch
from torchlite import ir
from torchlite.backends.native import kernel

SIZES = [((1,), 1), ((5, 7), 1), ((12, 64, 128), 1), ((70, 3, 19), 2), ((2, 3, 1100), 1), ((4, 5), 2)]


def draw(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).normal(size=shape).astype(np.float32)


def both(op, *arrays, **params):
    """What the kernel and what NumPy computes, that in double precision."""
    fast = kernel(f"layer_norm.{op}")
    if fast is None:
        pytest.skip("kernels are switched off or can't be compiled")
    wide = inspect.unwrap(ir.REGISTRY[op].run)(np, *(a.astype(np.float64) for a in arrays), **params)
    return zip(fast(*arrays, **params), wide, strict=True)


@pytest.mark.parametrize("parameters", [0, 1, 2])
@pytest.mark.parametrize(("shape", "dims"), SIZES)
def test_layer_norm_and_its_gradient(shape, dims, parameters):
    x, own = draw(*shape) * 3 + 50, shape[len(shape) - dims :]
    scale_shift = [draw(*own, seed=i) for i in range(parameters)]
    results = list(both("layer_norm", x, *scale_shift, dims=dims, eps=1e-5))
    for got, expected in results:
        np.testing.assert_allclose(got, expected, rtol=2e-4, atol=2e-5)
    (_, _), (mean, _), (scale, _) = results
    for got, expected in both("layer_norm_grad", draw(*shape, seed=7), x, mean, scale, *scale_shift[:1]):
        np.testing.assert_allclose(got, expected, rtol=2e-4, atol=2e-4)


def test_nan_stays_in_its_row_and_gaps_are_read_over():
    x = draw(6, 40)
    x[2, 5] = np.nan
    x[4, 5] = np.inf
    for got, expected in both("layer_norm", x[:, ::2], draw(20), dims=1, eps=1e-5):
        np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_gradients_of_gradients_and_of_statistics_agree_with_what_is_written_out():
    x = torch.from_numpy(draw(3, 5).astype(np.float64)).requires_grad_()
    weight, bias = (torch.from_numpy(draw(5, seed=i).astype(np.float64)).requires_grad_() for i in (1, 2))
    assert torch.autograd.gradgradcheck(
        lambda *inputs: torch.nn.functional.layer_norm(inputs[0], (5,), *inputs[1:]), (x, weight, bias)
    )
    assert torch.autograd.gradcheck(lambda *i: torch.native_layer_norm(i[0], (5,), *i[1:], 1e-5), (x, weight, bias))
