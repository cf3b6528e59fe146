"""Products in compiled functions: operands as they lie, and what follows them done where they are stored."""

import re

import compiled_together
import numpy as np
import pytest

import torchlite as torch
import torchlite.nn.functional as functional
from torchlite.backends.native import toolchain

try:
    toolchain.compiler()
except toolchain.Unavailable:
    pytest.skip("there is no C compiler", allow_module_level=True)


def draw(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng((seed, *shape)).normal(size=shape).astype(np.float32))


def check(f, *inputs, passes):
    """Compare with float64, and the number of products and of other passes over memory; the C of the program."""
    return check_together([(f, inputs)], passes)


def check_together(cases, passes):
    """The same of several functions and their tensors in one program."""
    results, source = compiled_together.run(cases)
    for got, (f, inputs) in zip(results, cases, strict=True):
        expected = f(*(x.double() if x.is_floating_point() else x for x in inputs))
        for a, b in zip(*(r if isinstance(r, tuple) else (r,) for r in (got, expected)), strict=True):
            assert a.shape == b.shape
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-4)
    steps = compiled_together.steps(source)
    loops = sum(line.strip().startswith(("loop", "flat(", "parallel(", "many(")) for line in steps)
    assert (sum(line.count("multiply_matrices(") for line in steps), loops) == passes
    return source


SIZES = [(4, 1, 2), (1, 7, 5), (70, 65, 140)]


def test_linear_with_its_bias_and_an_activation():
    cases = []
    for m, n, k in SIZES:
        cases += [
            (lambda x, w, b: functional.gelu(functional.linear(x, w, b)), (draw(m, k), draw(n, k), draw(n))),
            (
                lambda x, w, b: (functional.linear(x, w, b), functional.linear(x, w, b).relu()),
                (draw(m, k), draw(n, k), draw(n)),
            ),
            (lambda x, w, r: functional.linear(x, w) + r, (draw(m, k), draw(n, k), draw(m, n))),
        ]
    check_together(cases, passes=(len(cases), 0))


def test_gelu_and_its_slope_of_what_a_product_gives():
    def with_gradient(x, w, b):
        y = functional.linear(x, w, b).requires_grad_()
        z = functional.gelu(y * 0.5) + y
        z.sum().backward()
        return z.detach(), y.grad

    cases = []
    for m, n, k in [*SIZES, (40, 200, 30)]:
        cases.append((with_gradient, (draw(m, k), draw(n, k), draw(n) * 3)))
        cases.append((lambda x, w: functional.gelu(x @ w.t()).square(), (draw(m, k), draw(n, k))))
    check_together(cases, passes=(len(cases), 0))


def test_gelu_and_its_slope_alone_are_stored_as_they_are_computed():
    def gradient(x, w, b, v):
        x = x.detach().requires_grad_()
        functional.linear(functional.gelu(functional.linear(x, w, b)), v).square().sum().backward()
        return x.grad

    source = check(gradient, draw(70, 14), draw(65, 14), draw(65), draw(3, 65), passes=(4, 0))
    assert source.count("gelu_with_slopes(tile, s0 + column, s2 + column, s1 + column, columns);") == 1


def test_a_product_is_stored_after_what_is_computed_of_it():
    def both(x, w, y):
        z = x @ w
        return z, y - z * 0.5

    source = check(both, draw(12, 5), draw(5, 9), draw(12, 9), passes=(1, 0))
    assert re.search(r"= v1;\n +s\d\[column \+ i\] = acc;\n +}", source)


def test_gelu_of_what_is_no_number_or_too_large_for_one():
    x = torch.tensor([float("nan"), float("inf"), -float("inf"), 1e30, -1e30, 40.0, -40.0, -0.0, 0.0, 1e-40])
    f = torch.compile(lambda x, w: (functional.gelu(x @ w), x @ w), fullgraph=True)
    for _ in range(3):
        got, product = f(x[:, None], torch.ones(1, 37))
    expected = functional.gelu(product)
    np.testing.assert_array_equal(got.isnan(), expected.isnan())
    np.testing.assert_allclose(got.nan_to_num(), expected.nan_to_num(), rtol=1e-6, atol=1e-37)


def test_permuted_operands_are_read_as_they_lie():
    cases = []
    for m, n, k in SIZES:
        cases.append((lambda x, y: x.t() @ y.t(), (draw(k, m), draw(n, k))))
        cases.append((lambda x, y: x[:, ::2] @ y[::2], (draw(m, 2 * k), draw(2 * k, n))))
    check_together(cases, passes=(len(cases), 0))


def test_what_follows_may_be_broadcast_transposed_or_of_another_shape():
    ways = [
        (lambda x, y, r: (x @ y) * r, draw(12, 1)),
        (lambda x, y, r: (x @ y) * r.t(), draw(24, 12)),
        (lambda x, y, r: (x @ y).reshape(3, 4, 24) + r, draw(3, 4, 24)),
        (lambda x, y, r: (x @ y).reshape(3, 4, 24) + r, draw(4, 3, 24).transpose(0, 1)),
        (lambda x, y, r: (x @ y).reshape(12, 4, 6) + r, draw(4, 6)),
        (lambda x, y, r: (x @ y).reshape(12, 4, 6) * r, draw(12, 6, 4).transpose(1, 2)),
        (lambda x, y: ((x @ y) > 0).to(torch.int64),),
    ]
    cases = [(f, (draw(12, 20), draw(20, 24), *given)) for f, *given in ways]
    check_together(cases, passes=(len(cases), 0))


def test_batches():
    sizes = [((3,), (3,)), ((2, 3), (3,)), ((2, 3), (2, 3)), ((5,), ()), ((), (5,)), ((2, 1), (3,))]
    cases = [(lambda x, y: (x @ y).relu(), (draw(*left, 9, 20), draw(*right, 20, 33))) for left, right in sizes]
    check_together(cases, passes=(len(cases), 0))


def test_long_sums_in_parts():
    check(lambda x, y, r: (x @ y) * 2 + r, draw(30, 20_000), draw(20_000, 40), draw(30, 40), passes=(1, 0))


def test_a_step_of_gradient_descent_is_its_products():
    model = torch.nn.Sequential(torch.nn.Linear(30, 20), torch.nn.ReLU(), torch.nn.Linear(20, 10))
    plain = torch.nn.Sequential(torch.nn.Linear(30, 20), torch.nn.ReLU(), torch.nn.Linear(20, 10)).double()
    plain.load_state_dict(model.state_dict())
    x, y = draw(16, 30), draw(16, 10)

    def step_of(model):
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

        def step(x, y):
            optimizer.zero_grad()
            ((model(x) - y) ** 2).sum().backward()
            optimizer.step()

        return step

    compiled, eager = torch.compile(step_of(model), fullgraph=True), step_of(plain)
    for _ in range(5):
        compiled(x, y)
        eager(x.double(), y.double())
    for a, b in zip(model.parameters(), plain.parameters(), strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-4, atol=1e-5)
    assert compiled.source.partition("int segment0")[2].count("multiply_matrices(") == 5


def test_other_types_are_left_to_numpy():
    f = torch.compile(lambda x, y: x @ y + 1)
    for _ in range(3):
        got = f(draw(4, 5).double(), draw(5, 6).double())
    assert "multiply_matrices" not in f.source
    np.testing.assert_allclose(got.numpy(), draw(4, 5).double().numpy() @ draw(5, 6).double().numpy() + 1)


@pytest.mark.parametrize(("m", "fetches"), [(4, False), (1 << 13, True)])
def test_tiles_that_fetch_ahead_are_compiled_for_large_products_alone(m, fetches):
    x, y, z = draw(m, 32), draw(32, 33), draw(m, 33)  # too short sums for tile registers
    assert ("fetching_tiles" in check(lambda x, y, z: x @ y + z, x, y, z, passes=(1, 0))) == fetches
