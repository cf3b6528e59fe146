"""Steps through which gradients flow: to the parameters before, the gradients, the state and the hyper-parameters."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import torchlite as torch
from torchlite import optim
from torchlite.autograd import gradcheck

CASES: list[tuple[str, dict[str, Any], list[str], dict[str, Any]]] = [
    ("SGD", {"momentum": 0.9, "nesterov": True}, ["momentum_buffer"], {"lr": 0.9, "weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9, "weight_decay": 0.1}, [], {"lr": 0.9}),
    ("Adam", {"amsgrad": True}, ["exp_avg", "exp_avg_sq", "max_exp_avg_sq"], {"lr": 0.9, "weight_decay": 0.1}),
    ("Adam", {"weight_decay": 0.1}, ["exp_avg", "exp_avg_sq"], {"betas": (0.8, 0.9)}),
    ("AdamW", {}, ["exp_avg", "exp_avg_sq"], {"lr": 0.1, "weight_decay": 0.1}),
    ("Adamax", {"weight_decay": 0.1}, ["exp_avg", "exp_inf"], {"lr": 0.1}),
    ("NAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}, ["exp_avg", "exp_avg_sq"], {"lr": 0.1}),
    ("RAdam", {"weight_decay": 0.1}, ["exp_avg", "exp_avg_sq"], {"lr": 0.1}),
    ("Adagrad", {"weight_decay": 0.1, "lr_decay": 0.1}, ["sum"], {"lr": 0.1}),
    ("Adadelta", {"weight_decay": 0.1}, ["square_avg", "acc_delta"], {"lr": 0.1}),
    ("RMSprop", {"momentum": 0.9, "centered": True}, ["square_avg", "momentum_buffer", "grad_avg"], {"lr": 0.1}),
    ("Rprop", {"step_sizes": (1e-3, 50)}, ["prev", "step_size"], {}),
    ("Rprop", {}, [], {"lr": 0.1}),
    ("ASGD", {"weight_decay": 0.1, "t0": 5}, ["ax"], {"lr": 0.1}),
]


@pytest.fixture(autouse=True)
def counters_in_float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.mark.parametrize(("name", "options", "kept", "hyper"), CASES, ids=lambda x: x if isinstance(x, str) else None)
def test_gradients_of_two_steps(name: str, options: dict[str, Any], kept: list[str], hyper: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    inputs = [torch.tensor(rng.random(4), requires_grad=True) for _ in range(2)]
    # The variance of centered RMSprop has to stay positive.
    inputs += [torch.tensor(rng.random(4) + 2 * ("sq" in key), requires_grad=True) for key in kept]
    numbers = [n for value in hyper.values() for n in (value if isinstance(value, tuple) else (value,))]
    inputs += [torch.tensor(n, requires_grad=True) for n in numbers]

    def run(param: Any, grad: Any, *rest: Any) -> Any:
        state, numbers = rest[: len(kept)], rest[len(kept) :]
        given = {"betas": numbers} if "betas" in hyper else dict(zip(hyper, numbers, strict=True))
        param = param.clone()
        param.grad = grad
        optimizer = getattr(optim, name)([param], differentiable=True, **options, **given)
        if kept:
            counters = {"step": torch.tensor(9.0), "mu_product": torch.tensor(0.5), "eta": torch.tensor(0.1)}
            counters |= {"mu": torch.tensor(0.5)}
            optimizer.state[param] = {key: counters[key] for key in optimizer.counters}
            optimizer.state[param] |= {key: x.clone() for key, x in zip(kept, state, strict=True)}
        for _ in range(2):
            optimizer.step()
        return (param, *(x for x in optimizer.state[param].values() if x.requires_grad))

    assert gradcheck(run, inputs)


def test_a_learned_learning_rate() -> None:
    """Descent on the learning rate itself makes the loss after five steps smaller."""
    rate = torch.tensor(0.01, requires_grad=True)
    losses = []
    for _ in range(20):
        x = torch.tensor([3.0, -2.0], requires_grad=True).clone()
        optimizer = optim.Adam([x], lr=rate, differentiable=True)
        for _ in range(5):
            x.grad = 2 * x
            optimizer.step()
        loss = (x**2).sum()
        (gradient,) = torch.autograd.grad(loss, rate)
        losses.append(loss.item())
        rate = (rate - 0.005 * gradient).detach().requires_grad_()
    assert losses[-1] < 0.5 * losses[0]


def test_without_the_flag_nothing_is_recorded() -> None:
    x = torch.tensor([3.0], requires_grad=True)
    rate = torch.tensor(0.1, requires_grad=True)
    x.grad = torch.ones(1)
    optim.SGD([x], lr=rate, momentum=0.9).step()
    assert x.is_leaf and x.item() == pytest.approx(2.9)
