"""The kernels of recurrent networks against the operators: both directions, odd sizes, every choice of cotangents."""

import inspect

import numpy as np
import pytest

import torchlite as torch
from torchlite import dtypes, ir
from torchlite.backends.native import kernel

SIZES = [(1, 1, 1), (5, 3, 7), (4, 17, 16), (9, 40, 50), (6, 37, 80), (3, 33, 128)]


def draw(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).normal(size=shape).astype(np.float32)


def both(op, *arrays, **params):
    fast = kernel(f"recurrent.{op}")
    if fast is None:
        pytest.skip("kernels are switched off or can't be compiled")
    return fast(*arrays, **params), inspect.unwrap(ir.REGISTRY[op].run)(np, *arrays, **params)


def inputs(steps, samples, width):
    shapes = (steps, samples, 4 * width), (samples, width), (samples, width), (4 * width, width)
    gates, h0, c0, w_hh = (draw(*shape, seed=i) for i, shape in enumerate(shapes))
    return gates, h0, c0, w_hh / np.float32(np.sqrt(width))


def sizes(steps, samples, packed):
    """Batch sizes of sequences of falling length."""
    return tuple(max(1, samples - samples * t // steps) for t in range(steps)) if packed else None


def agree(results, rtol=1e-5, atol=2e-6):
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_lstm_and_its_gradient(size, reverse, packed):
    gates, h0, c0, w_hh = inputs(*size)
    params = {"batch_sizes": sizes(*size[:2], packed), "reverse": reverse}
    agree(both("lstm", gates, h0, c0, w_hh, **params))
    _, cs, kept = both("lstm", gates, h0, c0, w_hh, **params)[1]
    for given in ((True, True), (True, False), (False, True)):
        cotangents = [draw(*cs.shape, seed=i) for i, there in enumerate(given) if there]
        agree(both("lstm_grad", kept, c0, w_hh, cs, *cotangents, given=given, **params), 1e-4, 1e-5)


def test_cells_that_wait_are_computed_before_their_sequences_end():
    params = {"batch_sizes": (40, 40, 16, 8), "reverse": False}
    agree(both("lstm", *inputs(4, 40, 32), **params))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("size", [(5, 3, 16), (9, 40, 80), (3, 33, 128)])
def test_lstm_of_bfloat16_is_that_of_float32_rounded(size, reverse, packed):
    half, wide = dtypes.bfloat16.numpy, np.float32
    params = {"batch_sizes": sizes(*size[:2], packed), "reverse": reverse}

    def compared(op, *arrays, **more):
        given = [a.astype(half) for a in arrays]
        fast = both(op, *given, **params, **more)[0]
        exact = both(op, *(a.astype(wide) for a in given), **params, **more)[1]
        assert all(a.dtype == half for a in fast)
        agree([[a.astype(wide) for a in fast], exact], 2**-6, 2**-6 * max(np.abs(a).max() for a in exact))
        return fast

    gates, h0, c0, w_hh = inputs(*size)
    _, cs, kept = compared("lstm", gates, h0, c0, w_hh)
    for given in ((True, True), (False, True)):
        cotangents = [draw(*cs.shape, seed=i) for i, there in enumerate(given) if there]
        compared("lstm_grad", kept, c0, w_hh, cs, *cotangents, given=given)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_gru_and_its_gradient(size, reverse, packed):
    steps, samples, width = size
    gates, h0, w_hh = (
        draw(steps, samples, 3 * width),
        draw(samples, width),
        draw(3 * width, width) / np.float32(width**0.5),
    )
    params = {"batch_sizes": sizes(steps, samples, packed), "reverse": reverse}
    agree(both("gru", gates, h0, w_hh, **params))
    results = both("gru", gates, h0, w_hh, draw(3 * width), **params)
    agree(results)
    hs, kept = results[1]
    agree(both("gru_grad", draw(*hs.shape), kept, h0, w_hh, hs, **params), 1e-4, 1e-5)


def test_memory_with_gaps():
    gates, h0, c0, w_hh = inputs(4, 6, 8)
    gates, w_hh = gates[::-1], w_hh.copy(order="F")
    for a, b in zip(*both("lstm", gates, h0, c0, w_hh, batch_sizes=None, reverse=False), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("width", [9, 16])
def test_nan_stays_with_its_sample(width):
    arrays = inputs(3, 20, width)
    arrays[0][1, 4, 2] = np.nan
    for a, b in zip(*both("lstm", *arrays, batch_sizes=None, reverse=False), strict=True):
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b))


@pytest.mark.parametrize(("width", "unit"), [(16, 7), (128, 7), (128, 100)])
@pytest.mark.parametrize("where", ["weight", "state", "cotangent"])
def test_infinities_are_those_of_float32(where, width, unit):
    size = (3, 20, width)
    gates, h0, c0, w_hh = inputs(*size)
    (w_hh if where == "weight" else h0)[3, unit] = np.inf if where != "cotangent" else 1.0
    params = {"batch_sizes": None, "reverse": False}
    agree(both("lstm", gates, h0, c0, w_hh, **params))
    _, cs, kept = both("lstm", *inputs(*size), **params)[1]
    g = draw(*size)
    g[2, 4, unit] = np.inf if where == "cotangent" else 1.0
    w_hh[4:8] = 0.5  # whose lower terms are zero
    agree(both("lstm_grad", kept, c0, w_hh, cs, g, given=(True, False), **params), 1e-4, 1e-5)


def test_float32_in_tiles_errs_less_than_one_sum():
    fast = kernel("recurrent.lstm")
    if fast is None:
        pytest.skip("kernels are switched off or can't be compiled")
    gates, h0, c0, w_hh = inputs(1, 32, 128)
    h0 *= np.exp2(np.random.default_rng(0).integers(-20, 20, h0.shape)).astype(np.float32)
    got = fast(gates * 0, h0, c0, w_hh * np.float32(1e-6), batch_sizes=None, reverse=False)[2]
    sums = h0.astype(np.float64) @ (w_hh * np.float32(1e-6)).T.astype(np.float64)
    exact = 1 / (1 + np.exp(-sums[:, :256]))
    np.testing.assert_allclose(got[0, :, :256], exact, rtol=1e-6)


def test_what_kernels_do_not_take():
    arrays = inputs(3, 2, 4)
    fast = kernel("recurrent.lstm")
    if fast is not None:
        assert fast(*arrays, draw(2, 4), batch_sizes=None, reverse=False) is None
        assert fast(*(a.astype(np.float64) for a in arrays), batch_sizes=None, reverse=False) is None


def test_a_large_layer_agrees_with_small_batches_of_it():
    """Sizes decide whether the kernel computes."""
    torch.manual_seed(0)
    layer = torch.nn.LSTM(16, 32, bidirectional=True)
    x = torch.randn(20, 64, 16)
    whole, _ = layer(x)
    whole.sum().backward()
    gradients = [p.grad.numpy().copy() for p in layer.parameters()]
    layer.zero_grad()
    parts = [layer(part)[0] for part in x.split(4, 1)]
    sum(part.sum() for part in parts).backward()
    np.testing.assert_allclose(torch.cat(parts, 1).detach().numpy(), whole.detach().numpy(), rtol=1e-5, atol=1e-6)
    for a, p in zip(gradients, layer.parameters(), strict=True):
        np.testing.assert_allclose(a, p.grad.numpy(), rtol=1e-3, atol=1e-4)
