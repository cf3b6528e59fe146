"""Optimizers whose steps a kernel makes against the rule in tensor operators."""

import numpy as np
import pytest

import torchlite as torch
from torchlite import optim
from torchlite.backends.native import kernel
from torchlite.optim import pack

CONFIGURATIONS = [
    ("SGD", {}), ("SGD", {"weight_decay": 0.1, "maximize": True}), ("SGD", {"momentum": 0.9, "dampening": 0.2}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}), ("Adam", {}), ("Adam", {"weight_decay": 0.1}),
    ("Adam", {"maximize": True, "betas": (0.8, 0.9), "eps": 1e-4}), ("AdamW", {"weight_decay": 0.1}),
]  # fmt: skip


def parameters():
    rng = np.random.default_rng(0)
    return [
        torch.from_numpy(rng.normal(size=shape).astype(np.float32)).requires_grad_()
        for shape in ((300, 150), (7,), (40, 3), (), (16_385,))
    ]


def trained(name, options, params):
    optimizer = getattr(optim, name)(params, lr=0.01, **options)
    rng = np.random.default_rng(1)
    for _ in range(5):
        for p in params:
            p.grad = torch.from_numpy(np.asarray(rng.normal(size=p.shape), np.float32))
        optimizer.step()
    return optimizer


@pytest.fixture(autouse=True)
def kernels():
    if kernel("optimizers.adam") is None:
        pytest.skip("kernels are switched off or can't be compiled")


@pytest.mark.parametrize(("name", "options"), CONFIGURATIONS)
def test_steps_are_those_of_the_rule(name, options, monkeypatch):
    fast = parameters()
    with_kernel = trained(name, options, fast)
    plain = parameters()
    monkeypatch.setattr(pack, "LARGE", 1 << 40)
    without = trained(name, options, plain)
    for a, b in zip(fast, plain, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-5, atol=1e-6)
        for key, value in without.state[b].items():
            np.testing.assert_allclose(with_kernel.state[a][key].numpy(), value.numpy(), rtol=1e-5, atol=1e-6)


def test_the_kernel_is_taken_and_backward_notices(monkeypatch):
    called = []
    monkeypatch.setattr(pack, "kernel", lambda name: called.append(name) or kernel(name))
    params = parameters()
    loss = (params[0] ** 2).sum()
    trained("Adam", {}, params)
    assert called == ["optimizers.adam"] * 5
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


ROW = [np.zeros(4, np.float32) for _ in range(4)]


@pytest.mark.parametrize(
    "arrays",
    [
        [np.zeros(4)] * 4,
        [np.zeros((4, 6), np.float32)[:, ::2]] * 4,
        [np.zeros(4, ">f4")] * 4,
        [*ROW[:3], np.zeros(5, np.float32)],
        [*ROW, ROW[0][1:2], *(np.zeros(1, np.float32) for _ in range(3))],
    ],
)
def test_what_the_kernel_does_not_take(arrays):
    numbers = dict.fromkeys(("decay", "kept", "rate", "beta1", "beta2", "eps"), 0.5)
    assert kernel("optimizers.adam")(ROW, 4, maximize=False, **numbers)
    assert not kernel("optimizers.adam")(arrays, 4, maximize=False, **numbers)
    assert not kernel("optimizers.adam")(ROW[:3], 3, maximize=False, **numbers)
