"""Sums over the rows of products and of what layer normalisation gives back, formed where rows are stored."""

import numpy as np
import pytest
from compiled_together import one_of

import torchlite as torch
import torchlite.nn.functional as functional
from torchlite.backends.native import toolchain

try:
    toolchain.compiler()
except toolchain.Unavailable:
    pytest.skip("there is no C compiler", allow_module_level=True)


def draw(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng((seed, *shape)).normal(size=shape).astype(np.float32))


def close(got, expected):
    scale = max(1.0, expected.abs().max().item())
    np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-4, atol=1e-5 * scale)


def check(f, *inputs, loops):
    """Compare with float64, with another number of threads to the bit, and count the passes that are loops of their own."""
    check_together([(f, inputs)], loops)


def check_together(cases, loops):
    """The same of several functions and their tensors in one program."""
    functions, given = zip(*cases, strict=True)
    together = one_of(functions)
    compiled = torch.compile(together, fullgraph=True)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 1, 1, 2, 3):
            torch.set_num_threads(threads)
            results.append([r.detach().clone() for result in compiled(*given) for r in result])
    finally:
        torch.set_num_threads(before)
    assert all(
        a.numpy().tobytes() == b.numpy().tobytes()
        for other in results[3:]
        for a, b in zip(results[2], other, strict=True)
    )
    expected = together(*([x.double() for x in inputs] for inputs in given))
    for got, wanted in zip(results[2], (r for result in expected for r in result), strict=True):
        close(got, wanted)
    units = [step.unit for step in compiled.variants[0].captured.run.layout.steps]
    assert sum(unit.kind == "loop" for unit in units) == loops


def test_a_large_product_sums_up_its_columns():
    def f(x, y, z):
        g = (x @ y) * z
        return g, g.sum(0)

    def means(x, y):
        return (x @ y).mean(0), (x @ y).square().sum(0, keepdim=True)

    cases = []
    for m, n, k in [(1024, 64, 10), (770, 130, 65), (768, 512, 128), (9400, 7, 200)]:
        cases += [(f, (draw(m, k), draw(k, n), draw(m, n))), (means, (draw(m, k), draw(k, n)))]
    check_together(cases, loops=0)


def test_rows_may_be_seen_as_several_dimensions():
    def f(x, y, z):
        g = (x @ y).reshape(12, 64, 96) * z
        return g, g.sum((0, 1))

    check(f, draw(768, 40), draw(40, 96), draw(12, 64, 96), loops=0)


def test_other_sums_are_passes_of_their_own():
    check(lambda x, y: (x @ y, (x @ y).sum(0)), draw(64, 40), draw(40, 128), loops=1)
    check(lambda x, y: (x @ y, (x @ y).sum(1)), draw(900, 40), draw(40, 80), loops=1)
    check(lambda x, y: (x @ y, (x @ y).sum((0, 2, 3))), draw(2, 3, 220, 40), draw(40, 50), loops=1)
    check(lambda x, y: (x @ y, (x @ y).sum((0, 1))), draw(3, 500, 40), draw(3, 40, 50), loops=1)
    check(lambda x, y: (x @ y, (x @ y).reshape(900, 8, 10).sum((0, 1))), draw(900, 40), draw(40, 80), loops=1)
    long = draw(300, 20_000), draw(20_000, 250)  # whose sums are divided
    check(lambda x, y: (x @ y / 100, (x @ y / 100).sum(0)), *long, loops=1)


def test_a_gradient_of_layer_normalisation_goes_on_with_a_sum():
    def f(x, g, weight, bias):
        shape = x.shape
        x = x.detach().requires_grad_()
        weight, bias = (p.detach().requires_grad_() for p in (weight, bias))
        functional.layer_norm(x, shape[-1:], weight, bias).backward(g)
        total = x.grad + g
        return total, total.sum(tuple(range(len(shape) - 1))), weight.grad, bias.grad

    shapes = [(5, 24), (7, 30, 128), (3, 1100), (1030, 19)]
    cases = [(f, (draw(*s), draw(*s, seed=1), draw(s[-1]), draw(s[-1], seed=2))) for s in shapes]
    check_together(cases, loops=0)


def test_rows_of_several_dimensions_are_normalized_and_then_added():
    def f(x, g):
        x = x.detach().requires_grad_()
        functional.layer_norm(x, x.shape[1:]).backward(g)
        return x.grad + g, (x.grad + g).sum((0, 1))

    check(f, draw(40, 5, 7), draw(40, 5, 7, seed=1), loops=1)
