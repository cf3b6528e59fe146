"""One rule over many parameters: gathered, in blocks, as they lie; all give what one parameter alone gets."""

from typing import Any

import numpy as np
import pytest

import torchlite as torch
from torchlite import optim
from torchlite.optim.pack import _BLOCK, _SMALL

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "SGD": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    "Adam": {"amsgrad": True, "weight_decay": 0.1},
    "AdamW": {},
    "Adamax": {},
    "NAdam": {"decoupled_weight_decay": True, "weight_decay": 0.1},
    "RAdam": {},
    "Adagrad": {"lr_decay": 0.1},
    "Adadelta": {},
    "RMSprop": {"centered": True, "momentum": 0.9},
    "Rprop": {},
    "ASGD": {"t0": 1},
}
SHAPES = [(3,), (2, 2), (), (0, 3), (_SMALL, 9), (7,), (_BLOCK + 5,), (40, _SMALL // 40), (_SMALL,)]


def drawn(shape: tuple[int, ...], seed: int, is_complex: bool = False) -> Any:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)
    return torch.tensor(x + 1j * rng.normal(size=shape) if is_complex else x)


def stepped(name: str, params: list[Any], steps: int = 3, **options: Any) -> Any:
    optimizer = getattr(optim, name)(params, **{"lr": 0.01, **OPTIMIZERS[name], **options})
    for step in range(steps):
        for i, param in enumerate(params):
            param.grad = drawn(tuple(param.shape), 100 * step + i, param.is_complex())
        optimizer.step()
    return optimizer


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])
def test_together_as_alone(name: str, is_complex: bool) -> None:
    params = [drawn(shape, i, is_complex).requires_grad_() for i, shape in enumerate(SHAPES)]
    together = stepped(name, params)
    for i, shape in enumerate(SHAPES):
        alone = drawn(shape, i, is_complex).requires_grad_()
        optimizer = getattr(optim, name)([alone], lr=0.01, **OPTIMIZERS[name])
        for step in range(3):
            alone.grad = drawn(shape, 100 * step + i, is_complex)
            optimizer.step()
        assert torch.equal(alone, params[i])
        for key, value in optimizer.state[alone].items():
            assert torch.equal(value, together.state[params[i]][key]), key


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_parameters_that_are_not_contiguous(name: str) -> None:
    plain = [drawn((5, 4), 0).requires_grad_(), drawn((300, 400), 1).requires_grad_()]
    turned = [p.detach().t().contiguous().t().requires_grad_() for p in plain]
    assert not any(p.is_contiguous() for p in turned)
    stepped(name, plain)
    stepped(name, turned)
    for a, b in zip(plain, turned, strict=True):
        np.testing.assert_allclose(b.detach().numpy(), a.detach().numpy(), rtol=1e-13)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_parameters_that_have_made_different_numbers_of_steps(name: str) -> None:
    params = [drawn((4,), i).requires_grad_() for i in range(3)]
    optimizer = getattr(optim, name)(params, lr=0.01, **OPTIMIZERS[name])
    alone = drawn((4,), 1).requires_grad_()
    other = getattr(optim, name)([alone], lr=0.01, **OPTIMIZERS[name])
    for step in range(4):
        for i, param in enumerate(params):
            param.grad = None if i == 1 and step < 2 else drawn((4,), 10 * step + i)
        optimizer.step()
        if step >= 2:
            alone.grad = drawn((4,), 10 * step + 1)
            other.step()
    assert torch.equal(alone, params[1])
    if optimizer.counters:
        assert [optimizer.state[p]["step"].item() for p in params] == [4, 2, 4]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_backward_notices_the_step(name: str) -> None:
    small, large = (drawn((n,), 0).requires_grad_() for n in (3, _BLOCK * 3))
    losses = [(p**2).sum() for p in (small, large)]
    stepped(name, [small, large, drawn((2,), 1).requires_grad_()], steps=1)
    for loss in losses:
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


@pytest.mark.parametrize("name", sorted(OPTIMIZERS.keys() - {"SGD", "Adagrad"}))
def test_captured_as_eager(name: str) -> None:
    """Capturable counters and hyper-parameters are tensors, which a replayed step reads again."""
    eager, captured = ([drawn((4, 3), 0).requires_grad_(), drawn((2,), 1).requires_grad_()] for _ in range(2))
    rate = torch.tensor(0.01, dtype=torch.float64)
    stepped(name, eager, steps=8)
    optimizer = stepped(name, captured, steps=8, lr=rate, capturable=True)
    for a, b in zip(eager, captured, strict=True):
        np.testing.assert_allclose(b.detach().numpy(), a.detach().numpy(), rtol=1e-4)
    assert optimizer.param_groups[0]["lr"] is rate


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_on_meta(name: str) -> None:
    param = torch.empty(3, 4, device="meta", requires_grad=True)
    optimizer = getattr(optim, name)([param, torch.empty(2, device="meta", requires_grad=True)], **OPTIMIZERS[name])
    for group in optimizer.param_groups:
        for p in group["params"]:
            p.grad = torch.empty_like(p)
    optimizer.step()
    assert all(v.device.type == "meta" for k, v in optimizer.state[param].items() if k not in optimizer.counters)


def test_fused_is_for_real_numbers_and_counts_in_float32() -> None:
    x = torch.ones(2, dtype=torch.float64, requires_grad=True)
    optimizer = optim.Adam([x], fused=True)
    x.grad = torch.ones_like(x)
    optimizer.step()
    assert optimizer.state[x]["step"].dtype is torch.float32
    z = torch.ones(2, dtype=torch.complex128, requires_grad=True)
    z.grad = torch.ones_like(z)
    with pytest.raises(RuntimeError, match="floating point"):
        optim.Adam([z], fused=True).step()


@pytest.mark.parametrize("length", [40, 40_000])
@pytest.mark.parametrize("name", ["SGD", "Adam", "Rprop"])
def test_parameters_that_share_memory_are_updated_one_after_the_other(name: str, length: int) -> None:
    together, apart = (_of_one_memory(length) for _ in range(2))
    of_all = getattr(optim, name)(together, lr=0.01)
    of_one = [getattr(optim, name)([param], lr=0.01) for param in apart]
    for i in range(3):
        for params in (together, apart):
            for j, param in enumerate(params):
                param.grad = drawn(tuple(param.shape), 10 * i + j)
        for optimizer in (of_all, *of_one):
            optimizer.step()
    for one, other in zip(together, apart, strict=True):
        np.testing.assert_allclose(one.detach().numpy(), other.detach().numpy(), rtol=1e-9)


def test_parameters_in_the_memory_of_an_array_of_numpy_are_updated_one_after_the_other() -> None:
    memory = np.ones(6)
    params = [torch.from_numpy(part).requires_grad_() for part in (memory, memory[2:4], memory[3:])]
    for param in params:
        param.grad = torch.ones_like(param)
    optim.SGD(params, lr=0.25).step()
    np.testing.assert_array_equal(memory, [0.75, 0.75, 0.5, 0.25, 0.5, 0.5])


def _of_one_memory(length: int) -> list[Any]:
    x = drawn((length,), 0)
    parts = (x[: 3 * length // 4], x[length // 4 :], x[::2], x[:1], torch.ones(3, dtype=x.dtype))
    return [part.detach().requires_grad_() for part in parts]


@pytest.mark.filterwarnings("ignore:torchlite.compile")  # such a step runs as it is
def test_a_compiled_step_of_parameters_that_share_memory() -> None:
    results = []
    for compile_ in (torch.compile, lambda function: function):
        params = _of_one_memory(40)
        optimizer = optim.SGD(params, lr=0.01)

        @compile_
        def step(params: Any = params, optimizer: Any = optimizer) -> None:
            optimizer.zero_grad()
            sum((param * param).sum() for param in params).backward()
            optimizer.step()

        for _ in range(4):
            step()
        results.append(params[1].detach().numpy())
    np.testing.assert_allclose(*results, rtol=1e-9)
