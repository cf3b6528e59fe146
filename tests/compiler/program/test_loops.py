"""Loops in C against NumPy: any strides, broadcasting, orders of memory, reductions over any dimensions."""

import itertools
import random

import numpy as np
import pytest

import torchlite as torch
import torchlite.nn.functional as F
from torchlite.backends.native import toolchain

try:
    toolchain.compiler()
except toolchain.Unavailable:
    pytest.skip("there is no C compiler", allow_module_level=True)


def compare(f, *inputs, tolerance=1e-5, host=()):
    """The compiled function gives what it gives uncompiled, and all but ``host`` of it runs in C."""
    expected = f(*inputs)
    compiled = torch.compile(f, fullgraph=True)
    for _ in range(2):
        compiled(*inputs)
    got = compiled(*inputs)
    for a, b in zip(expected, got, strict=True):
        assert a.dtype is b.dtype
        assert a.shape == b.shape
        np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=tolerance, atol=tolerance)
    units = [step.unit for step in compiled.variants[0].captured.run.layout.steps]
    assert {u.root.op.name for u in units if u.kind == "host"} <= set(host)
    return units


def lying(rng, shape, dtype=torch.float32):
    """A tensor of a shape whose elements lie in some order, perhaps with gaps or expanded."""
    order = rng.sample(range(len(shape)), len(shape))
    x = torch.randn([shape[d] * rng.choice([1, 1, 2]) for d in order], dtype=dtype)
    x = x.permute([order.index(d) for d in range(len(shape))])
    x = x[tuple(slice(0, n) for n in shape)]
    if rng.random() < 0.3:
        d = rng.randrange(len(shape))
        x = x.narrow(d, 0, 1).expand(shape)
    return x


@pytest.mark.parametrize("seed", range(8))
def test_elementwise_in_any_strides(seed):
    rng = random.Random(seed)
    torch.manual_seed(seed)
    shape = [rng.choice([1, 2, 3, 5, 17]) for _ in range(rng.randrange(1, 5))]
    x, y = lying(rng, shape), lying(rng, shape)
    row = torch.randn([n if rng.random() < 0.5 else 1 for n in shape])
    compare(lambda x, y, row: (x * row + y, (x - y).relu() * row, (x > y).logical_or(row > 0)), x, y, row)


def test_sums_down_several_dimensions_that_lie_apart():
    x, y = torch.randn(6, 5, 4, 7), torch.randn(6, 1, 1, 7)
    lying = x.permute(0, 3, 1, 2)  # channels side by side, and a number for each sample and channel
    compare(lambda x, y: ((x * y).sum((0, 2, 3)), (x * y).sum((0, 2, 3), keepdim=True)), lying, y.permute(0, 3, 1, 2))
    units = compare(lambda x, y: ((x * y).sum((1, 2)),), x.view(6, 20, 7)[:, None], y)
    assert units


@pytest.mark.parametrize("seed", range(8))
def test_reductions_over_any_dimensions(seed):
    rng = random.Random(100 + seed)
    torch.manual_seed(seed)
    shape = [rng.choice([1, 2, 4, 7, 19]) for _ in range(rng.randrange(1, 5))]
    x, y = lying(rng, shape), lying(rng, shape)
    count = len(shape)
    choices = [dims for n in range(1, count + 1) for dims in itertools.combinations(range(count), n)]
    dims = rng.choice(choices)
    compare(
        lambda x, y: (x.sum(dims), (x * y).mean(dims, keepdim=True), torch.linalg.vector_norm(x - y, dim=dims)), x, y
    )
    compare(lambda x, y: ((x > y).all(), (x * 2 > y).any(), (x > y).sum(dims)), x, y)


@pytest.mark.parametrize("shape", [(100_000,), (300, 1000), (7, 900, 33), (64, 16, 14, 14), (2, 3, 40_000)])
def test_large_arrays_are_divided(shape):
    x = torch.randn(shape)
    for dims in ((0,), (len(shape) - 1,), tuple(range(len(shape))), tuple(range(len(shape)))[::2]):
        compare(lambda x, dims=dims: ((x * 2).sum(dims), x + 1), x, tolerance=1e-4)


@pytest.mark.parametrize("dims", [(0, 1, 2), (1, 2), (0, 2)])
def test_reductions_of_what_is_repeated_between_others(dims):
    """Dimensions that are reduced together, and can't be joined because an operand has fewer of them."""
    x, y = torch.randn(6, 50, 40, 24), torch.randn(6, 1, 40, 24)
    compare(lambda x, y: ((x * y).sum(dims), (x - y).mean(dims, keepdim=True)), x, y, tolerance=1e-4)


def test_results_do_not_depend_on_the_number_of_threads():
    x = torch.randn(500, 700)
    f = torch.compile(lambda x: (x.sum(0), x.sum(1), x.sum(), (x * x).exp().mean(0)))
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            f(x)
            results.append([r.numpy().tobytes() for r in f(x)])
    finally:
        torch.set_num_threads(before)
    f(x)
    assert results[1] == results[2] == [r.numpy().tobytes() for r in f(x)]


def test_other_dtypes():
    x = torch.arange(24).reshape(4, 6) - 7
    small = x.to(torch.int8)
    compare(lambda x, s: (x * 3 - x, s * s, -s, x == s.long(), x.sum(), (x % 2 == 0)), x, small, host=("remainder",))
    d = torch.randn(5, 6, dtype=torch.float64)
    compare(lambda d: (d.exp().sum(0), d.float() * 2, d.sigmoid(), d.double().tanh()), d, tolerance=1e-6)


def test_special_numbers():
    values = torch.tensor([0.0, -0.0, float("inf"), -float("inf"), float("nan"), 1e-42, 3e38, -1.5])
    x, y = values[:, None].expand(8, 8).contiguous(), values[None].expand(8, 8).contiguous()
    units = compare(
        lambda x, y: (
            torch.maximum(x, y),
            torch.where(x > y, x, y),
            x.relu(),
            x.clamp(-1, 1),
            x.exp(),
            x.tanh(),
            x / y,
        ),
        x,
        y,
    )
    assert all(u.kind == "loop" for u in units)


def test_activations_with_an_exponential_below_zero():
    def activations(x):
        x = x.detach().requires_grad_()
        results = (F.elu(x, 1.3), F.celu(x, 0.7), F.selu(x))
        (gradient,) = torch.autograd.grad(sum(y.sum() for y in results), x)
        return (*(y.detach() for y in results), gradient)

    for dtype, tolerance in ((torch.float32, 2e-6), (torch.float64, 1e-14)):
        compare(activations, torch.linspace(-120, 120, 5001, dtype=dtype), tolerance=tolerance)


def test_expm1_keeps_the_digits_of_small_numbers():
    sizes = torch.logspace(-40, 1.9, 3000)
    x = torch.cat([sizes, -sizes, torch.tensor([0.0, -0.0, float("inf"), -float("inf"), float("nan")])])
    expected = np.expm1(x.numpy().astype(np.float64))
    step = torch.compile(torch.expm1, fullgraph=True)
    for _ in range(3):
        result = step(x).numpy()
    np.testing.assert_allclose(result, expected, rtol=4e-7, atol=2e-45)


def test_shapes_that_are_views_of_each_other_are_one_pass():
    x = torch.randn(6, 4, 10)
    units = compare(lambda x: ((x * 2).reshape(24, 10).relu().reshape(6, 40) + 1,), x)
    assert len(units) == 1


def test_nothing_is_computed_on_no_elements():
    x = torch.zeros(0, 3)
    compare(lambda x: (x * 2, (x + 1).t() * 3), x, host=("add", "mul"))


@pytest.mark.parametrize("dims", [(0,), (0, 1), (0, 2), (1, 3)])
def test_what_is_kept_after_a_reduction_has_several_strides(dims):
    """Here (2, 6, 3, 2, 4) of permuted memory: neither the dimensions that are kept nor those that are reduced are one."""
    x = torch.randn(3, 2, 2, 6, 4).permute(1, 3, 0, 2, 4)
    compare(lambda x: (x.sum(dims), (x * 2).mean(dims)), x)


def test_gradients_of_a_projection_whose_parts_are_unbound():
    projection, x = torch.nn.Linear(8, 24), torch.randn(2, 6, 8)

    def gradients(x):
        q, k, v = projection(x).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4).unbind()
        out = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return torch.autograd.grad(out.square().sum(), list(projection.parameters()))

    compare(gradients, x, tolerance=1e-4)


def test_reductions_over_dimensions_of_length_one():
    x, bias = torch.randn(4, 50, 1, 1), torch.randn(50, 1, 1)
    compare(lambda x, bias: ((x * bias).relu().mean((2, 3), keepdim=True).flatten(1), (x + bias).sum(2)), x, bias)
    y, row = torch.randn(3, 4, 1, 5), torch.randn(4, 1, 1)
    compare(lambda y, row: ((y * row).sum(2), (y + row).mean((2,), keepdim=True) * row), y, row)


def test_a_result_and_its_transpose_are_not_one_pass():
    x, y = torch.randn(7, 7), torch.randn(7, 7)

    def symmetric(x, y):
        a = x * y
        b = y + 1
        return (a * b + a.t()) * b, (a - b) * a.t() + b.t()

    compare(symmetric, x, y)


@pytest.mark.parametrize("shape", [(3, 20, 33), (40, 9), (2, 3, 8, 130)])
def test_copies_into_another_order_go_by_squares(shape):
    x = torch.randn(*shape).transpose(-1, -2)
    compare(lambda x: (x.contiguous(), x.contiguous().view(-1) * 2), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [2, 63, 64, 65, 1000, 40_001])
def test_updates_of_several_arrays_go_by_blocks(n, dtype):
    start = [torch.randn(n, dtype=dtype) for _ in range(3)]

    def update(w, m, g):
        m.mul_(0.9).add_(g * 0.1)
        w.sub_(m * 0.5)

    made = torch.compile(update, fullgraph=True)
    (w, m, _), (v, k, g) = ([x.clone() for x in start] for _ in range(2))
    for _ in range(3):
        made(w, m, g)
        update(v, k, g)
    assert "__builtin_prefetch" in made.source
    np.testing.assert_allclose(w.numpy(), v.numpy(), rtol=1e-6)
    np.testing.assert_allclose(m.numpy(), k.numpy(), rtol=1e-6)
