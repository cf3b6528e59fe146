"""Kernels for a GPU: what they compute, for every way in which work is divided. Without a GPU their text runs on the host."""

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import cuda_on_host
import numpy as np
import nvidia_on_host
import pytest
import simulated_gpu

import torchlite as torch
from torchlite import nn
from torchlite.compiler.cuda.reductions import division
from torchlite.compiler.cuda.slots import sent

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(cuda_on_host.COMPILER is None and simulated_gpu.installed(), reason="needs a C++ compiler"),
]


def kernels(compiled: Any) -> int:
    """How many kernels there are."""
    return str(compiled.source).count("__global__ void")


def same(function: Any, *inputs: Any, tolerance: float = 1e-6, count: int | None = 1) -> Any:
    """What a function gives, compiled to ``count`` kernels, is what it gives uncompiled."""
    compiled = torch.compile(function, fullgraph=True)
    for _ in range(2):
        compiled(*inputs)
    got, expected = compiled(*inputs), function(*inputs)
    if count is not None:
        assert kernels(compiled) == count, compiled.source
    pairs = zip(got, expected, strict=True) if isinstance(expected, tuple) else [(got, expected)]
    for a, b in pairs:
        assert a.is_cuda and a.dtype is b.dtype and a.shape == b.shape
        np.testing.assert_allclose(
            a.double().cpu().numpy(), b.double().cpu().numpy(), rtol=tolerance, atol=tolerance * 1e-2
        )
    return got


def normal(*shape: int, seed: int = 0, **kwargs: Any) -> Any:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size=shape, generator=generator).to("cuda", **kwargs)


def arithmetic(x: Any, y: Any) -> Any:
    return (x * y + 0.1 * x - y / 3).relu() * (x > y)


@pytest.mark.parametrize("shape", [(), (1,), (7,), (8,), (5, 12), (3, 1, 9), (300, 1001)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_elementwise_is_exact(shape: tuple[int, ...], dtype: Any) -> None:
    """Each operation is rounded as it is uncompiled."""
    same(arithmetic, normal(*shape, dtype=dtype), normal(*shape, seed=1, dtype=dtype), tolerance=0)


@pytest.mark.parametrize(
    ("left", "right"), [((4, 8), (8,)), ((4, 8), (4, 1)), ((3, 1, 8), (5, 1)), ((2, 3, 4), ()), ((6, 1), (1, 5))]
)
def test_operands_are_broadcast(left: Any, right: Any) -> None:
    same(lambda x, y: (x + y).exp() * y, normal(*left), normal(*right, seed=1))


def test_views_are_read_where_they_lie() -> None:
    def transposed(x: Any, y: Any) -> Any:
        return x.t() * 2 + y.reshape(6, 4) - x.reshape(4, 2, 3).transpose(1, 2).reshape(4, 6).t()

    same(transposed, normal(4, 6), normal(24), count=1)
    same(lambda x: x[:, 1:] * 2 + 1, normal(4, 6))  # what has gaps is copied first
    same(lambda x: x[1:] * 2 + 1, normal(9))  # and so is what does not begin where four numbers are read at once


def test_integers_and_truth_values() -> None:
    x = torch.arange(-6, 6, device="cuda")
    same(lambda x: (x * 3 - 2 == 7) | (x > 4) & (x != 5), x)
    same(lambda x: torch.where(x > 0, x, -x).to(torch.float32) * 0.5, x)
    same(lambda x: (x.to(torch.int32) + 1).to(torch.uint8), x)
    same(lambda x: ((x > 3).any(), (x < 9).all(), (x * 2).sum(), (x + 1).amax(), (x + 1).amin()), x, count=None)


def test_not_a_number_and_infinities() -> None:
    x = torch.tensor([[1.0, float("nan"), 3.0], [float("inf"), 2.0, float("-inf")]], device="cuda")
    same(lambda x: (x * 2).relu().clamp(max=5.0), x)
    same(lambda x: ((x + 1).amax(1), (x + 1).amin(1), (x + 1).sum(1)), x)
    same(lambda x: (x - float("inf")).maximum(x * float("nan")), x)


# Rows for a warp, a block, and a large block; columns; few places with much to add up, in rows and in columns.
SHAPES = {
    "warp": ((5, 33), (1,)), "block": ((3, 1500), (1,)), "large block": ((65, 8200), (1,)), "columns": ((70, 40), (0,)),
    "long columns": ((1100, 33), (0,)), "middle": ((3, 20, 7), (1,)), "two": ((4, 3, 5, 2), (0, 2)), "all": ((40, 50), (0, 1)),
    "channels": ((6, 3, 9, 5), (0, 2, 3)), "all of much": ((300, 301), (0, 1)), "few columns": ((9000, 3), (0,)),
    "few rows": ((2, 9000), (1,)), "ones": ((1, 6, 1), (0, 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_every_division_of_a_reduction(name: str) -> None:
    shape, dims = SHAPES[name]
    x, y = normal(*shape), normal(*shape, seed=1)
    shared = division(shape, dims, shared=True).shares > 1
    assert shared == (name in ("large block", "all of much", "few columns", "few rows", "long columns"))

    def sums(x: Any, y: Any) -> Any:
        z = x * y + 1
        return z.sum(dims), (z - 1).amax(dims, keepdim=True), z, z.mean(dims) * 2 + 1

    same(sums, x, y, tolerance=1e-5, count=1 + shared)


@pytest.mark.parametrize("name", [name for name in SHAPES if name not in ("few columns", "all of much", "few rows")])
def test_steps_that_follow_from_reductions(name: str) -> None:
    shape, dims = SHAPES[name]

    def standardized(x: Any, y: Any) -> Any:
        centered = x - x.mean(dims, keepdim=True)
        scale = (centered.square().mean(dims, keepdim=True) + 1e-5).rsqrt()
        return centered * scale * y, scale

    same(standardized, normal(*shape), normal(*shape, seed=1), tolerance=1e-4)


def test_what_would_keep_few_groups_busy_is_divided() -> None:
    """Eight channels of much: the reduction is shared by many groups, what follows from it is a kernel of its own."""
    same(lambda x: x - (x * 2).sum((0, 2), keepdim=True), normal(40, 2, 600), tolerance=1e-4, count=None)


def test_softmax_and_its_gradient() -> None:
    for dim in (0, 1, 2):
        same(lambda x, dim=dim: (x * 2).softmax(dim), normal(4, 5, 6), tolerance=1e-5)
        same(lambda x, dim=dim: (x * 2).log_softmax(dim), normal(4, 5, 6), tolerance=1e-5)

    def gradient(x: Any) -> Any:
        x = x.detach().requires_grad_()
        (x.softmax(-1) ** 2).sum().backward()
        return x.grad

    same(gradient, normal(4, 37), tolerance=1e-5, count=None)


def test_cross_entropy_is_one_kernel_over_the_logits() -> None:
    target = torch.tensor([1, 0, -100, 4, 2, 2], device="cuda")

    def loss(x: Any) -> Any:
        x = x.detach().requires_grad_()
        out = nn.functional.cross_entropy(x, target)
        out.backward()
        return out.detach(), x.grad

    compiled_loss, _gradient = same(loss, normal(6, 9), tolerance=1e-5, count=None)
    expected = nn.functional.cross_entropy(normal(6, 9).cpu(), target.cpu())
    np.testing.assert_allclose(compiled_loss.item(), expected.item(), rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_add_up_in_float32(dtype: Any) -> None:
    x = (torch.arange(3000) % 7).to(device="cuda", dtype=dtype)
    compiled = torch.compile(lambda x: (x * 1).sum(), fullgraph=True)
    for _ in range(3):
        total = compiled(x)
    assert total.dtype is dtype
    assert total.item() == torch.tensor(float((np.arange(3000) % 7).sum())).to(dtype).item()
    layer = nn.LayerNorm(40).cuda().to(dtype).requires_grad_(False)
    same(lambda x: layer(x), normal(5, 40, dtype=dtype), tolerance=2e-2)


def test_numbers_are_read_at_every_call() -> None:
    scale = {"lr": 0.5}
    parameter = torch.ones(5, device="cuda", requires_grad=True)
    optimizer = torch.optim.SGD([parameter], lr=0.5, momentum=0.9)

    @torch.compile(fullgraph=True)
    def step() -> None:
        optimizer.zero_grad()
        (parameter * 3).sum().backward()
        optimizer.step()

    for i in range(5):
        optimizer.param_groups[0]["lr"] = scale["lr"] * (i + 1)
        step()
    assert len(step.variants) == 1
    plain = torch.ones(5, requires_grad=True)
    expected = torch.optim.SGD([plain], lr=0.5, momentum=0.9)
    for i in range(5):
        expected.param_groups[0]["lr"] = 0.5 * (i + 1)
        expected.zero_grad()
        (plain * 3).sum().backward()
        expected.step()
    np.testing.assert_allclose(parameter.detach().cpu().numpy(), plain.detach().numpy(), rtol=1e-6)


def test_a_text_that_cant_be_compiled_is_one_warning_and_runs_unfused(monkeypatch: Any) -> None:
    from torchlite.backends import cupy

    def refuse(**_: Any) -> Any:
        raise RuntimeError("nvrtc: error")

    monkeypatch.setattr(cupy(), "RawModule", refuse)
    compiled = torch.compile(arithmetic, fullgraph=True)
    x, y = normal(6), normal(6, seed=1)
    compiled(x, y)
    with pytest.warns(RuntimeWarning, match="nvrtc: error"):
        got = compiled(x, y)
    assert compiled.source == ""
    assert torch.equal(got, arithmetic(x, y))


def tables(compiled: Any) -> int:
    """How many kernels take many arrays at once."""
    return str(compiled.source).count("const unsigned long long *rows")


@pytest.mark.parametrize("name", ["SGD", "AdamW", "RMSprop"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_optimizer_is_one_launch_over_all_parameters(name: str, dtype: Any) -> None:
    shapes = [(40, 500), (7,), (3, 5, 2), (16385,), (1,)]

    def trained(device: str, compiled: bool) -> Any:
        params = [torch.nn.Parameter(normal(*shape, seed=i).cpu().to(device, dtype)) for i, shape in enumerate(shapes)]
        optimizer = getattr(torch.optim, name)(params, lr=0.01, **({"momentum": 0.9} if name == "SGD" else {}))

        def step() -> Any:
            optimizer.zero_grad()
            for p in params:
                p.grad = p.detach() * 2 + 1
            optimizer.step()

        run = torch.compile(step, fullgraph=True) if compiled else step
        before = [p.data_ptr() for p in params]
        for i in range(4):
            optimizer.param_groups[0]["lr"] = 0.01 * (i + 1)
            run()
        assert [p.data_ptr() for p in params] == before
        assert all(p._version > 3 for p in params)
        if compiled:
            assert kernels(run) == tables(run) == 1, run.source  # type: ignore[attr-defined]
        return params, optimizer

    (params, optimizer), (others, other) = trained("cuda", True), trained("cpu", False)
    for p, q in zip(params, others, strict=True):
        np.testing.assert_allclose(p.detach().cpu().numpy(), q.detach().numpy(), rtol=1e-5, atol=1e-7)
        for key, state in optimizer.state[p].items():
            np.testing.assert_allclose(state.cpu().numpy(), other.state[q][key].numpy(), rtol=1e-5, atol=1e-7)


def updates(step: Any, *inputs: Any) -> None:
    """What a function does to its arguments, compiled, is what it does uncompiled."""
    compiled = torch.compile(step, fullgraph=True)
    for _ in range(4):
        expected = [x.clone() for x in inputs]
        theirs, ours = step(*expected), compiled(*inputs)
        for a, b in zip([*inputs, ours], [*expected, theirs], strict=True):
            if a is not None:
                np.testing.assert_allclose(a.cpu().numpy(), b.cpu().numpy(), rtol=1e-5, atol=1e-6)


def test_inputs_that_need_each_other_are_not_overwritten_too_early() -> None:
    def exchanged(x: Any, y: Any) -> None:
        before = x.clone()
        x.copy_(y * 2 + 1)
        y.copy_(before * 3 - 1)

    def through_views(x: Any, y: Any) -> Any:
        row = x[1:3] * 2
        x.mul_(3).add_(1)
        y[0:2].copy_(row + 1)
        return x.t() + 1

    def returned(x: Any, y: Any) -> Any:
        old = x * 1 + y
        x.add_(y * 2)
        return old + x

    def repeated(x: Any, y: Any) -> Any:
        x.copy_((x + 1) * y)
        x.sub_(x.sum() * 0.5)
        return x.mean()

    def transposed(x: Any, y: Any) -> None:
        x.t().add_(y.t() * 2).mul_(3)

    for step in (exchanged, through_views, returned, repeated, transposed):
        updates(step, normal(4, 5), normal(4, 5, seed=1))


def test_inputs_with_gaps_are_written_into() -> None:
    def step(x: Any, y: Any) -> None:
        x.mul_(2).add_(y)

    memory = normal(8, 5)
    x, y = memory[::2], normal(4, 5, seed=1)
    compiled = torch.compile(step, fullgraph=True)
    expected = memory.clone()
    for _ in range(4):
        step(expected[::2], y)
        compiled(x, y)
        assert torch.equal(memory, expected)


def test_a_check_that_fails_leaves_everything_as_it_was() -> None:
    weight = normal(4, 3).requires_grad_()
    optimizer = torch.optim.SGD([weight], lr=0.5)
    target = torch.tensor([0, 1], device="cuda")

    def step(x: Any, target: Any) -> Any:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(x @ weight, target)
        loss.backward()
        optimizer.step()
        return loss

    compiled = torch.compile(step, fullgraph=True)
    x = normal(2, 4, seed=1)
    for _ in range(3):
        compiled(x, target)
    before = weight.detach().clone()
    compiled(x, torch.tensor([0, -100], device="cuda"))  # the way without ignored targets is given up, and taken once
    with torch.no_grad():
        loss = nn.functional.cross_entropy(x[:1] @ before, target[:1])
    assert loss.isfinite()
    expected = before.clone().requires_grad_()
    nn.functional.cross_entropy(x @ expected, torch.tensor([0, -100], device="cuda")).backward()
    np.testing.assert_allclose(weight.detach().cpu().numpy(), (before - 0.5 * expected.grad).cpu().numpy(), rtol=1e-5)


def test_a_bias_is_added_where_the_activation_is_computed() -> None:
    layer = nn.Linear(6, 8).cuda().requires_grad_(False)
    compiled = torch.compile(lambda x: nn.functional.gelu(layer(x)) + 1, fullgraph=True)
    for shape in ((5, 6), (2, 5, 6)):
        x = normal(*shape)
        for _ in range(3):
            got = compiled(x)
        np.testing.assert_allclose(
            got.cpu().numpy(), (nn.functional.gelu(layer(x)) + 1).cpu().numpy(), rtol=1e-5, atol=1e-6
        )
        assert kernels(compiled) == 1


def test_norms_of_all_gradients_are_one_launch_and_one_that_puts_chunks_together() -> None:
    shapes = [(40, 500), (7,), (3, 5, 2), (16385,), (130, 129)]
    grads = [normal(*shape, seed=i) for i, shape in enumerate(shapes)]

    def norms(*grads: Any) -> Any:
        return tuple(g.norm() for g in grads)

    compiled = torch.compile(norms, fullgraph=True)
    for _ in range(3):
        got = compiled(*grads)
    assert kernels(compiled) == tables(compiled) == 2, compiled.source
    for a, g in zip(got, grads, strict=True):
        assert a.shape == ()
        np.testing.assert_allclose(a.item(), np.linalg.norm(g.cpu().numpy().reshape(-1)), rtol=1e-5)


def test_layer_norm_and_cross_entropy_with_their_gradients_are_written_out() -> None:
    layer = nn.LayerNorm(9).cuda()
    with torch.no_grad():
        layer.weight.copy_(normal(9, seed=3))
    target = torch.tensor([1, 0, -100, 4, 2, 2], device="cuda")

    def step(x: Any) -> Any:
        x = x.detach().requires_grad_()
        layer.weight.grad = layer.bias.grad = None
        loss = nn.functional.cross_entropy(layer(x), target)
        loss.backward()
        return loss.detach(), x.grad, layer.weight.grad, layer.bias.grad

    compiled = torch.compile(step, fullgraph=True)
    x = normal(6, 9)
    for _ in range(3):
        got = compiled(x)
    for a, b in zip(got, step(x), strict=True):
        np.testing.assert_allclose(a.cpu().numpy(), b.cpu().numpy(), rtol=1e-4, atol=1e-6)
    assert 0 < kernels(compiled) <= 8


def test_a_bias_that_nothing_follows_is_added_by_the_product() -> None:
    x, weight, bias = normal(6, 5), normal(4, 5, seed=1), normal(4, seed=2)

    def layers(x: Any, weight: Any, bias: Any) -> Any:
        y = nn.functional.linear(x, weight, bias)
        return y, y.t() @ x, nn.functional.linear((x * 2 + 1).view(2, 3, 5), weight, bias)

    with counted_products() as products:
        same(layers, x, weight, bias)
    assert products is None or sorted(products) == ["epilogue=1"] * 4 + ["epilogue=4"] * 2 * 4
    with counted_products() as products:  # here the bias belongs to what follows it
        same(lambda x, weight, bias: nn.functional.linear(x, weight, bias).relu() * 2, x, weight, bias)
    assert products is None or sorted(products) == ["epilogue=1"] * 2 + ["epilogue=4"] * 2


def test_a_bias_of_a_convolution_belongs_to_what_follows_it() -> None:
    x, weight, bias = normal(2, 3, 6, 6), normal(4, 3, 3, 3, seed=1), normal(4, seed=2)
    same(lambda x, weight, bias: nn.functional.conv2d(x, weight, bias).relu(), x, weight, bias, tolerance=1e-5)
    flat = nn.functional.conv1d
    same(lambda x, w, b: flat(x, w, b, padding=1).tanh(), x[:, :, 0], weight[:, :, 0], bias, tolerance=1e-5)


@contextlib.contextmanager
def counted_products() -> Iterator[list[str] | None]:
    """The products with a bias that cuBLASLt is asked for, where a stand-in of it can tell."""
    if not simulated_gpu.installed() or nvidia_on_host.built() is None:
        yield None
        return
    nvidia_on_host.library().fake_clear()
    found: list[str] = []
    yield found
    found += [line.split()[1] for line in nvidia_on_host.calls() if line.startswith("cublasLtMatmul ")]


def test_counters_are_one_launch_and_nothing_written_in_rows_is_copied() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.ReLU(), nn.BatchNorm2d(2)).cuda()
    expected, x = copy.deepcopy(model), torch.randn(3, 1, 4, 4, device="cuda")

    def step(model: Any) -> None:
        model.zero_grad()
        model(x).square().sum().backward()

    compiled = torch.compile(step, fullgraph=True)
    for _ in range(3):
        compiled(model)
        step(expected)
    text = str(compiled.variants[0].captured.run.graph)
    assert "clone" not in text and "cuda0.add" not in text
    for (name, a), (_, b) in zip(model.state_dict().items(), expected.state_dict().items(), strict=True):
        np.testing.assert_allclose(a.cpu().numpy(), b.cpu().numpy(), rtol=1e-5, err_msg=name)
    for p, q in zip(model.parameters(), expected.parameters(), strict=True):
        np.testing.assert_allclose(p.grad.cpu().numpy(), q.grad.cpu().numpy(), rtol=1e-4, atol=1e-4)


def test_numbers_are_sent_as_arguments_of_as_many_launches_as_they_need() -> None:
    for count in (1, 496, 1500):
        numbers = np.random.default_rng(count).integers(0, 1 << 63, count, dtype=np.uint64)
        np.testing.assert_array_equal(sent(numbers).get(), numbers)
