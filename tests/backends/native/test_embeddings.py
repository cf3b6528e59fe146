"""The kernels of embeddings against NumPy: odd widths, numbers from the end, numbers outside."""

import inspect

import numpy as np
import pytest

import torchlite as torch
from torchlite import ir
from torchlite.backends.native import embeddings, kernel


def draw(*shape):
    return np.random.default_rng(shape).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("count", "rows", "inner"),
    [((5,), 3, (1,)), ((12, 64), 65, (128,)), ((7, 9), 11, (5, 10)), ((40,), 5, (300,)), ((40,), 5, (520,))],
)
def test_sums_by_number(count, rows, inner):
    fast = kernel("embeddings.index_add")
    if fast is None:
        pytest.skip("kernels are switched off or can't be compiled")
    numbers = np.random.default_rng(rows).integers(-rows, rows, count)
    params = {"spec": ("tensor",), "shape": (rows, *inner)}
    expected = inspect.unwrap(ir.REGISTRY["index_add"].run)(np, draw(*count, *inner), numbers, **params)
    np.testing.assert_allclose(fast(draw(*count, *inner), numbers, **params), expected, rtol=1e-5, atol=1e-5)
    numbers.flat[-1] = rows
    assert fast(draw(*count, *inner), numbers, **params) is None


def test_rows_by_number():
    if kernel("embeddings.index_add") is None:
        pytest.skip("kernels are switched off or can't be compiled")
    table, numbers, out = draw(9, 7), np.array([3, -1, 8, 0]), np.empty((4, 7), np.float32)
    assert embeddings.C.embedding_rows(table, numbers, out, 4, 9, 7)
    np.testing.assert_array_equal(out, table[numbers])
    numbers[2] = -10
    assert not embeddings.C.embedding_rows(table, numbers, out, 4, 9, 7)


def test_a_large_embedding_has_the_gradient_of_small_ones():
    numbers = torch.from_numpy(np.random.default_rng(0).integers(0, 50, 300))
    weight = torch.from_numpy(draw(50, 33)).requires_grad_()
    g = torch.from_numpy(draw(300, 33))
    torch.nn.functional.embedding(numbers, weight).backward(g)
    whole = weight.grad.clone()
    weight.grad = None
    for part, own in zip(numbers.split(20), g.split(20), strict=True):
        torch.nn.functional.embedding(part, weight).backward(own)
    np.testing.assert_allclose(whole.numpy(), weight.grad.numpy(), rtol=1e-5, atol=1e-5)
