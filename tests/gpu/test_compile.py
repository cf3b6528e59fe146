"""Captured functions and training steps on a GPU give what they give there uncompiled."""

from typing import Any

import numpy as np
import pytest

import torchlite as torch
from torchlite import ir, nn, optim
from torchlite.dispatch import apply

pytestmark = pytest.mark.gpu


def mlp() -> Any:
    return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.LayerNorm(32), nn.Dropout(0.1), nn.GELU(), nn.Linear(32, 10))


def cnn() -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3),
        nn.Flatten(), nn.Linear(72, 10),
    )  # fmt: skip


OPTIMIZERS = {
    "SGD": lambda ps: optim.SGD(ps, lr=0.05, momentum=0.9),
    "AdamW": lambda ps: optim.AdamW(ps, lr=1e-3),
    "fused Adam": lambda ps: optim.Adam(ps, lr=1e-3, fused=True),
    "capturable Adam": lambda ps: optim.Adam(ps, lr=1e-3, capturable=True),
}


@pytest.mark.parametrize(("make", "shape"), [(mlp, (20,)), (cnn, (1, 10, 10))])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_captured_step_trains_as_the_step_itself(make: Any, shape: tuple[int, ...], name: str) -> None:
    results = []
    for compiled in (False, True):
        torch.manual_seed(0)
        model, x, y = make().cuda(), torch.randn(16, *shape, device="cuda"), torch.arange(16, device="cuda") % 10
        optimizer, criterion = OPTIMIZERS[name](model.parameters()), nn.CrossEntropyLoss(label_smoothing=0.1)

        def step(
            x: Any, y: Any, model: Any = model, optimizer: Any = optimizer, criterion: Any = criterion
        ) -> torch.Tensor:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            return loss

        run = torch.compile(step, fullgraph=True) if compiled else step
        losses = []
        for i in range(6):
            optimizer.param_groups[0]["lr"] *= 0.9 if i > 2 else 1
            losses.append(run(x, y).item())
        if compiled:
            assert len(run.variants) == 1
        results.append((losses, [p.detach().cpu().numpy() for p in model.state_dict().values()]))
    np.testing.assert_allclose(results[1][0], results[0][0], rtol=1e-5)
    for a, b in zip(results[1][1], results[0][1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_a_module_alone_is_differentiable() -> None:
    torch.manual_seed(0)
    model = mlp().cuda().eval()
    compiled = torch.compile(model, fullgraph=True)
    x = torch.randn(4, 20, device="cuda", requires_grad=True)
    for _ in range(3):
        expected = torch.autograd.grad(model(x).square().sum(), [x, *model.parameters()])
        got = torch.autograd.grad(compiled(x).square().sum(), [x, *model.parameters()])
    for a, b in zip(got, expected, strict=True):
        assert a.is_cuda
        np.testing.assert_allclose(a.cpu().numpy(), b.cpu().numpy(), rtol=1e-4, atol=1e-6)


def test_the_text_names_the_device() -> None:
    step = torch.compile(lambda x: torch.cat([x, x.new_ones(1)]).cumsum(0), fullgraph=True)
    for _ in range(2):
        step(torch.ones(3, device="cuda"))
    assert "cuda0.cat(" in str(step.graph)
    assert "float32[3] on cuda:0" in str(step.graph)


def test_moves_between_devices_are_captured() -> None:
    @torch.compile(fullgraph=True)
    def step(x: Any, table: Any) -> Any:
        there = x.to("cuda") * 2
        table.copy_(x)
        return there.cpu() + 1, there, torch.ones(2, device="cuda") + torch.tensor(1.0)

    table = torch.zeros(3, device="cuda")
    for i in range(3):
        host, there, ones = step(torch.full((3,), float(i)), table)
        assert host.tolist() == [2.0 * i + 1] * 3 and not host.is_cuda
        assert there.tolist() == [2.0 * i] * 3 and there.is_cuda
        assert ones.tolist() == [2.0, 2.0] and ones.is_cuda
        assert table.tolist() == [float(i)] * 3


def test_tensors_of_two_devices_are_the_error_of_eager() -> None:
    step = torch.compile(lambda x, y: x @ y)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="same device, but found cpu and cuda:0"):
            step(torch.ones(2, 2), torch.ones(2, 2, device="cuda"))


def test_arguments_on_another_device_are_captured_anew() -> None:
    step = torch.compile(lambda x: (x * 2).sum(), fullgraph=True)
    for device in ("cpu", "cpu", "cuda", "cuda", "cpu"):
        assert step(torch.ones(3, device=device)).item() == 6
    assert len(step.variants) == 2


def test_a_gradient_of_repeated_numbers_has_memory_of_its_own() -> None:
    @torch.compile(fullgraph=True)
    def step(x: Any) -> None:
        x.grad = None
        x.sum().backward()

    x = torch.ones(2, 3, device="cuda", requires_grad=True)
    for _ in range(3):
        step(x)
        x.grad[0, 0] = 5
        assert x.grad.tolist() == [[5, 1, 1], [1, 1, 1]]


def test_random_numbers_go_on() -> None:
    draw = torch.compile(lambda x: nn.functional.dropout(x, 0.5), fullgraph=True)
    x = torch.ones(64, device="cuda")
    torch.manual_seed(3)
    expected = [nn.functional.dropout(x, 0.5).tolist() for _ in range(4)]
    torch.manual_seed(3)
    assert [draw(x).tolist() for _ in range(4)] == expected


def test_the_default_device_decides() -> None:
    make = torch.compile(lambda x: torch.ones(2).sum() + x.cpu().sum(), fullgraph=True)
    x = torch.ones(2)
    for _ in range(3):
        assert make(x).item() == 4
    with torch.device("cuda"):
        assert torch.compile(lambda: torch.ones(2).sum())().is_cuda
        with pytest.raises(RuntimeError, match="same device"):
            torch.ones(2) + x


torch.vmap  # noqa: B018 - loads every module that registers operators


@pytest.mark.parametrize("name", sorted(name for name, op in ir.REGISTRY.items() if op.samples is not None))
@pytest.mark.filterwarnings("ignore:torchlite.compile")
def test_every_operator_gives_what_it_gives_uncompiled(name: str) -> None:
    op = ir.REGISTRY[name]
    for sample in op.samples(np.random.default_rng(0))[:2]:  # type: ignore[misc]
        integers = name.startswith("bitwise_") or name in ("gcd", "lcm")
        inputs = [torch.tensor(np.asarray(a, np.int64 if integers else None), device="cuda") for a in sample.arrays]

        def function(*xs: Any, params: Any = sample.params) -> Any:
            return apply(op, xs, params)

        compiled = torch.compile(function)
        expected = function(*inputs)
        for _ in range(3):
            got = compiled(*inputs)
        assert compiled.gave_up is None
        pairs = zip(got, expected, strict=True) if isinstance(expected, tuple) else [(got, expected)]
        for a, b in pairs:
            assert a.device == b.device and a.dtype is b.dtype
            np.testing.assert_allclose(a.cpu().numpy(), b.cpu().numpy(), rtol=1e-12)
