"""Optimizers and clipping of gradients, uncompiled: one launch for all parameters, which does as they do one by one."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import torchlite as torch
from torchlite import nn, optim
from torchlite.compiler.cuda import rules, texts
from torchlite.compiler.cuda.rules import RowRecording
from torchlite.compiler.cuda.tables import Chunks

pytestmark = pytest.mark.gpu
SHAPES = ((3, 4), (), (200, 100), (0, 2), (17,))
OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "SGD": ("SGD", {}),
    "SGD with momentum": ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    "Adam": ("Adam", {"amsgrad": True, "weight_decay": 0.1, "maximize": True}),
    "AdamW": ("AdamW", {}),
    "Adamax": ("Adamax", {}),
    "NAdam": ("NAdam", {}),
    "RAdam": ("RAdam", {}),
    "Adagrad": ("Adagrad", {"lr_decay": 0.1}),
    "Adadelta": ("Adadelta", {}),
    "RMSprop": ("RMSprop", {"centered": True, "momentum": 0.9}),
    "ASGD": ("ASGD", {"t0": 1}),
}


def one_by_one(recording: RowRecording, *_: Any) -> list[Any]:
    return recording._decline()


@pytest.fixture
def launches(monkeypatch: Any) -> Iterator[list[int]]:
    """For each launch the number of rows."""
    counted: list[int] = []
    launch = Chunks.launch

    def noted(chunks: Chunks, *given: Any) -> None:
        counted.append(len(chunks.table))
        launch(chunks, *given)

    monkeypatch.setattr(Chunks, "launch", noted)
    return counted


def tensors(shapes: Any, dtype: Any, seed: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [torch.tensor(rng.normal(size=shape)).to("cuda", dtype) for shape in shapes]


def trained(name: str, dtype: Any, shapes: Any = SHAPES, steps: int = 4) -> list[Any]:
    """All that an optimizer has changed, and its state."""
    kind, options = OPTIMIZERS[name]
    params = [x.requires_grad_() for x in tensors(shapes, dtype, 0)]
    optimizer = getattr(optim, kind)(params, lr=0.01, **options)
    for step in range(steps):
        for param, grad in zip(params, tensors(shapes, dtype, step + 1), strict=True):
            param.grad = grad
        optimizer.step()
        optimizer.param_groups[0]["lr"] *= 0.9
    states = [x for param in params for x in optimizer.state[param].values() if x is not None]
    return [x.detach().cpu().double().numpy() for x in (*params, *states)]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_all_parameters_are_updated_in_one_launch(name: str, launches: list[int], monkeypatch: Any) -> None:
    found = trained(name, torch.float32)
    assert launches == [4] * 4  # one is empty
    monkeypatch.setattr(RowRecording, "launch", one_by_one)
    for one, other in zip(found, trained(name, torch.float32), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16", "complex64"])
def test_other_dtypes(dtype: str, launches: list[int], monkeypatch: Any) -> None:
    found = trained("SGD with momentum", getattr(torch, dtype))
    assert launches == [4] * 4
    monkeypatch.setattr(RowRecording, "launch", one_by_one)
    for one, other in zip(found, trained("SGD with momentum", getattr(torch, dtype)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_is_done_is_compiled_once() -> None:
    trained("AdamW", torch.float32)
    known = len(rules._rules)
    trained("AdamW", torch.float32, ((5, 2), (64,)))
    assert len(rules._rules) == known


def test_what_no_kernel_can_do_is_done_one_by_one(launches: list[int], monkeypatch: Any) -> None:
    monkeypatch.setitem(OPTIMIZERS, "Rprop", ("Rprop", {}))  # there is no expression of a sign
    found = trained("Rprop", torch.float32)
    assert not launches
    monkeypatch.setattr(RowRecording, "launch", one_by_one)
    for one, other in zip(found, trained("Rprop", torch.float32), strict=True):
        np.testing.assert_array_equal(one, other)


def test_parameters_in_any_order_of_memory(launches: list[int]) -> None:
    last = torch.zeros(2, 3, 4, 5, device="cuda").to(memory_format=torch.channels_last)
    gaps = torch.zeros(4, 6, device="cuda")[:, ::2]
    plain = torch.zeros(2, 3, 4, 5, device="cuda")
    params = [nn.Parameter(x) for x in (last, gaps, plain, torch.zeros(3, 5, device="cuda"))]
    rows = torch.arange(120.0, device="cuda").view(2, 3, 4, 5)
    params[0].grad = rows.to(memory_format=torch.channels_last)
    params[1].grad = torch.arange(12.0, device="cuda").view(4, 3)
    params[2].grad = params[0].grad
    params[3].grad = torch.arange(15.0, device="cuda").view(5, 3).t()
    optim.SGD(params, lr=1.0).step()
    assert launches == [1]  # two lie otherwise than their gradients, one has gaps
    for param in params:
        assert torch.equal(param, -param.grad)


def test_parameters_that_share_memory_are_updated_one_after_the_other(launches: list[int]) -> None:
    memory = torch.zeros(15000, device="cuda")
    params = [nn.Parameter(memory[:10000]), nn.Parameter(memory[5000:])]
    for param in params:
        param.grad = torch.ones(10000, device="cuda")
    optim.SGD(params, lr=1.0).step()
    assert launches == [1, 1]
    assert memory[::5000].tolist() == [-1.0, -2.0, -1.0]


def test_one_gradient_for_several_parameters(launches: list[int]) -> None:
    params = [nn.Parameter(torch.zeros(4, device="cuda")) for _ in range(3)]
    params[0].grad = params[1].grad = params[2].grad = torch.ones(4, device="cuda")
    optim.SGD(params, lr=1.0).step()
    assert launches == [3]
    assert all(param.tolist() == [-1.0] * 4 for param in params)


def test_what_a_write_changes_is_noticed_by_backward() -> None:
    param = nn.Parameter(torch.ones(3, device="cuda"))
    loss = (param * param).sum()
    param.grad = torch.ones(3, device="cuda")
    optim.SGD([param], lr=1.0).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_an_error_of_a_rule_ends_the_recording() -> None:
    class Wrong(optim.SGD):
        def update(self, pack: Any, options: Any) -> None:
            for _ in pack.blocks():
                raise ValueError("wrong")

    param = nn.Parameter(torch.ones(3, device="cuda"))
    param.grad = torch.ones(3, device="cuda")
    with pytest.raises(ValueError, match="wrong"):
        Wrong([param]).step()
    assert (param + 1).tolist() == [2.0] * 3


@pytest.mark.parametrize("p", [2.0, 3.0])
def test_clipping(p: float, launches: list[int]) -> None:
    shapes = ((3, 4), (200, 100), (), (17,))
    norms, clipped = [], []
    for device in ("cuda", "cpu"):
        params = [nn.Parameter(torch.zeros(shape, device=device)) for shape in shapes]
        for param, grad in zip(params, tensors(shapes, torch.float32, 3), strict=True):
            param.grad = grad.to(device)
        norms.append(nn.utils.clip_grad_norm_(params, 0.5, p).item())
        nn.utils.clip_grad_value_(params, 1e-3)
        clipped.append([param.grad.cpu().numpy() for param in params])
    assert launches == [4] * (3 if p == 2 else 2)  # other norms have no kernel
    np.testing.assert_allclose(norms[0], norms[1], rtol=1e-5)
    for one, other in zip(*clipped, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_without_a_compiler(monkeypatch: Any) -> None:
    def refuse(*_: Any) -> Any:
        raise RuntimeError("no NVRTC")

    monkeypatch.setattr(rules, "_rules", {})
    monkeypatch.setattr(texts, "_modules", {})
    texts.warn_once.cache_clear()
    monkeypatch.setattr(texts.Texts, "module", refuse)
    with pytest.warns(RuntimeWarning, match="more launches: no NVRTC"):
        found = trained("AdamW", torch.float32)
    monkeypatch.setattr(RowRecording, "launch", one_by_one)
    for one, other in zip(found, trained("AdamW", torch.float32), strict=True):
        np.testing.assert_array_equal(one, other)


def test_running_statistics_move_in_one_launch(launches: list[int]) -> None:
    x = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    layers = [nn.BatchNorm2d(3).to(device) for device in ("cuda", "cpu")]
    for layer in layers:
        for _ in range(2):
            layer(x.to(layer.running_mean.device))
    assert launches == [1, 1]
    for one, other in zip(layers[0].buffers(), layers[1].buffers(), strict=True):
        np.testing.assert_allclose(one.cpu(), other, rtol=1e-5)


def test_a_rule_may_write_into_views() -> None:
    from torchlite.compiler.rows import each

    x = torch.ones(6, device="cuda")
    for (row,) in each([[x]]):
        row.view(-1).mul_(3)
    assert x.tolist() == [3.0] * 6


def test_other_bounds_have_the_same_text() -> None:
    param = nn.Parameter(torch.zeros(4, device="cuda"))
    known = set()
    for limit in (2.0, 0.5):
        param.grad = torch.tensor([3.0, -3.0, 1.0, 0.1], device="cuda")
        nn.utils.clip_grad_value_([param], limit)
        assert param.grad.tolist() == pytest.approx([limit, -limit, min(limit, 1.0), 0.1])
        known.add(len(texts._modules))
    assert len(known) == 1
