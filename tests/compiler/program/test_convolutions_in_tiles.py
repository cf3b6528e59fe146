"""Convolutions in tile registers, or by Winograd's filtering, in compiled steps, with what comes before and behind them, beside
direct sums of multiply-adds.
"""

import numpy as np
import pytest

import torchlite as torch
import torchlite.nn.functional as F
from torchlite.backends.native import toolchain

try:
    toolchain.compiler()
except toolchain.Unavailable:
    pytest.skip("there is no C compiler", allow_module_level=True)

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def as_before():
    yield
    torch.backends.mkldnn.conv.fp32_precision = "none"


def drawn(*shape, scale=1.0):
    return torch.from_numpy((RNG.normal(size=shape) * scale).astype(np.float32))


def step(x, first, second, third, bias):
    """Batch norms, activations and a residual before and behind convolutions, with all gradients."""
    leaves = [t.detach().requires_grad_() for t in (x, first, second, third, bias)]
    x, first, second, third, bias = leaves
    out = F.conv2d(x, first, padding=1)
    middle = F.relu(F.batch_norm(out, None, None, training=True))
    other = F.batch_norm(F.conv2d(middle, second, padding=1), None, None, training=True)
    out = F.conv2d(F.relu(other + middle), third, bias)
    (out * out).mean().backward()
    return [out.detach(), *(leaf.grad for leaf in leaves)]


def inputs(samples, size):
    weights = [drawn(results, 32, 3, 3, scale=0.1) for results in (32, 32, 64)]
    return [drawn(samples, 32, size, size), *weights, drawn(64)]


def compiled(given, precision="none"):
    torch.backends.mkldnn.conv.fp32_precision = precision
    program = torch.compile(step, fullgraph=True)
    for _ in range(3):
        out = program(*given)
    return [t.numpy().copy() for t in out], program.source


@pytest.mark.parametrize(("samples", "size"), [(13, 8), (5, 16), (3, 26)])
def test_a_step(samples, size):
    given = inputs(samples, size)
    (tiles, source), (plain, other) = (compiled(given, how) for how in ("none", "ieee"))
    assert source.count("CONVOLUTION_IN_TILES(") >= 3
    assert source.count("WEIGHT_GRADIENT_IN_TILES(") >= 2
    assert source.count("CONVOLUTION_BY_WINOGRAD(") >= 3
    assert source.count("WEIGHT_GRADIENT_BY_") >= 2
    assert "_IN_TILES(" not in other and "_BY_" not in other
    for got, expected in zip(tiles, plain, strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_threads_change_nothing():
    given, before, results = inputs(13, 8), torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(compiled(given)[0])
    finally:
        torch.set_num_threads(before)
    for others in results[1:]:
        for a, b in zip(results[0], others, strict=True):
            np.testing.assert_array_equal(a, b)


def test_gradients_that_are_tiny():
    """Whose rows are scaled, where they are not computed by multiply-adds."""
    given = inputs(13, 8)
    given[-2:] = [t * 1e-12 for t in given[-2:]]
    tiles, plain = (compiled(given, how)[0] for how in ("none", "ieee"))
    for got, expected in zip(tiles, plain, strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
