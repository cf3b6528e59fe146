"""Tensors, training and random streams on a GPU give what NumPy gives."""

from typing import Any

import numpy as np
import pytest

import torchlite as torch
from torchlite import nn, optim

pytestmark = pytest.mark.gpu


def close(device: Any, host: Any, tolerance: float = 1e-4) -> None:
    assert device.is_cuda
    np.testing.assert_allclose(device.detach().cpu().numpy(), host.detach().numpy(), rtol=tolerance, atol=tolerance)


def test_moving_there_and_back() -> None:
    x = torch.arange(6.0).view(2, 3)
    for moved in (x.to("cuda"), x.cuda(), x.to(torch.device("cuda", 0)), torch.arange(6.0, device="cuda").view(2, 3)):
        assert str(moved.device) == "cuda:0"
        assert torch.equal(moved.cpu(), x)
        assert repr(moved).endswith("device='cuda:0')")
    y = x.cuda()
    assert y.to("cuda") is y
    assert y.to(torch.float64).device == y.device
    with pytest.raises(TypeError, match=r"Tensor\.cpu"):
        y.numpy()
    with pytest.raises(RuntimeError, match="cpu and cuda:0"):
        x + y
    assert (y + torch.tensor(1.0)).is_cuda


def test_gradients_flow_through_moves() -> None:
    x = torch.ones(3, requires_grad=True)
    (x.to("cuda") * torch.tensor([1.0, 2.0, 3.0], device="cuda")).sum().backward()
    assert not x.grad.is_cuda
    assert x.grad.tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_random_streams_are_those_of_the_cpu(dtype: str) -> None:
    kind = getattr(torch, dtype)
    for draw in (torch.rand, torch.randn):
        torch.manual_seed(5)
        host = [draw(1001, dtype=kind), draw(7, 3, dtype=kind)]
        torch.manual_seed(5)
        device = [draw(1001, dtype=kind, device="cuda"), draw(7, 3, dtype=kind, device="cuda")]
        for a, b in zip(device, host, strict=True):
            if draw is torch.rand:
                assert torch.equal(a.cpu(), b)
            else:
                close(a, b, 1e-5 if dtype != "float16" else 2e-3)
    torch.manual_seed(5)
    order = torch.randperm(100)
    torch.manual_seed(5)
    assert torch.equal(torch.randperm(100, device="cuda").cpu(), order)
    torch.manual_seed(5)
    numbers = torch.randint(0, 9, (50,))
    torch.manual_seed(5)
    assert torch.equal(torch.randint(0, 9, (50,), device="cuda").cpu(), numbers)


def test_samplers_by_rejection_draw_the_numbers_of_the_cpu() -> None:
    from torchlite.ops.variates import sample_dirichlet, standard_gamma, von_mises

    rates = torch.tensor([[0.3, 2.0, 9.5], [10.5, 40.0, 1e5]], dtype=torch.float64).repeat(50, 1)
    for draw in (
        torch.poisson, standard_gamma, sample_dirichlet, von_mises, lambda x: torch.binomial(x.floor(), x / 2e5),
        lambda x: torch.normal(x, x), lambda x: torch.bernoulli(x / 2e5),
    ):  # fmt: skip
        torch.manual_seed(5)
        host = draw(rates)
        torch.manual_seed(5)
        close(draw(rates.cuda()), host, 1e-9)
    concentration = rates.cuda().requires_grad_()
    torch.distributions.Dirichlet(concentration).rsample()[..., 0].sum().backward()
    assert concentration.grad.isfinite().all()


def mlp() -> Any:
    return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.LayerNorm(32), nn.Dropout(0.1), nn.GELU(), nn.Linear(32, 10))


def cnn() -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, groups=2),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip


@pytest.mark.parametrize(("make", "shape"), [(mlp, (20,)), (cnn, (1, 10, 10))])
@pytest.mark.parametrize(
    "optimizer", [lambda ps: optim.SGD(ps, lr=0.05, momentum=0.9), lambda ps: optim.AdamW(ps, lr=1e-3)]
)
def test_training_steps_equal_numpy_s(make: Any, shape: tuple[int, ...], optimizer: Any) -> None:
    torch.manual_seed(0)
    host = make()
    x, y = torch.randn(16, *shape), torch.randint(0, 10, (16,))
    device = make().to("cuda")
    device.load_state_dict(host.state_dict())
    assert all(p.is_cuda for p in device.parameters())
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    results = []
    for model, images, labels in ((host, x, y), (device, x.to("cuda"), y.to("cuda"))):
        torch.manual_seed(1)
        opt, losses = optimizer(model.parameters()), []
        for _ in range(10):
            opt.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            losses.append(loss.item())
        results.append(losses)
    np.testing.assert_allclose(results[1], results[0], atol=1e-4)
    for (name, a), (_, b) in zip(device.state_dict().items(), host.state_dict().items(), strict=True):
        np.testing.assert_allclose(a.cpu().numpy(), b.numpy(), atol=2e-3, err_msg=name)


OPTIMIZERS: dict[str, dict[str, Any]] = {
    "SGD": {"momentum": 0.9, "nesterov": True},
    "Adam": {"amsgrad": True, "weight_decay": 0.1},
    "AdamW": {"capturable": True},
    "Adamax": {},
    "NAdam": {"capturable": True},
    "RAdam": {"capturable": True},
    "Adagrad": {"fused": True},
    "Adadelta": {},
    "RMSprop": {"centered": True, "momentum": 0.9},
    "Rprop": {},
    "ASGD": {"t0": 1},
    "Adafactor": {},
    "Muon": {},
    "LBFGS": {"line_search_fn": "strong_wolfe"},
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_does_as_on_numpy(name: str) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in ((3, 4), (2, 3), (200, 100))]
    results = []
    for device in ("cpu", "cuda"):
        params = [torch.tensor(a, device=device, requires_grad=True) for a in arrays]
        optimizer = getattr(optim, name)(params, lr=0.01, **OPTIMIZERS[name])

        def closure(params: Any = params, optimizer: Any = optimizer) -> Any:
            optimizer.zero_grad()
            loss = sum(((p - 0.5) ** 2).sum() for p in params)
            loss.backward()
            return loss

        for _ in range(3):
            optimizer.step(closure)
        results.append(params)
    for host, there in zip(*results, strict=True):
        # Muon rounds to bfloat16, where the order of a sum can decide between two neighbours.
        close(there, host, 2e-3 if name == "Muon" else 1e-4)


def test_state_dicts_move_between_devices() -> None:
    model, other = mlp().to("cuda"), mlp()
    other.load_state_dict(model.state_dict())
    assert not any(v.is_cuda for v in other.state_dict().values())
    optimizer = optim.Adam(model.parameters())
    model(torch.ones(2, 20, device="cuda")).sum().backward()
    optimizer.step()
    resumed = optim.Adam(other.parameters())
    resumed.load_state_dict(optimizer.state_dict())
    for parameter, state in resumed.state.items():
        assert not parameter.is_cuda and not state["exp_avg"].is_cuda
    model.load_state_dict(other.state_dict())
    assert all(p.is_cuda for p in model.parameters())


def test_writes_and_indexing() -> None:
    def program(device: str) -> Any:
        x = torch.arange(12.0, device=device).view(3, 4).requires_grad_()
        h = x * 1
        h[:, 0] += 5
        h[h > 9] = 0
        h[torch.tensor([0, 2], device=device), 1] = torch.tensor([7.0, 8.0], device=device)
        out = h[[1, 1, 2]].sum(0) * h[..., 1:].mean()
        out.sum().backward()
        return out, x.grad, h.sort(1, descending=True).indices, h.argmax(1), h.cumsum(1)

    for a, b in zip(program("cuda"), program("cpu"), strict=True):
        close(a, b)
