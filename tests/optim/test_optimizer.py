"""Optimizers: what the comparison with PyTorch does not show."""

import copy
import pickle
from typing import Any

import pytest

import torchlite as torch
from torchlite import nn, optim

MAKERS: dict[str, Any] = {
    "SGD": lambda ps: optim.SGD(ps, lr=0.05, momentum=0.9),
    "Adam": lambda ps: optim.Adam(ps, lr=0.05),
    "AdamW": lambda ps: optim.AdamW(ps, lr=0.05, weight_decay=1e-4),
    "Adamax": lambda ps: optim.Adamax(ps, lr=0.05),
    "NAdam": lambda ps: optim.NAdam(ps, lr=0.05),
    "RAdam": lambda ps: optim.RAdam(ps, lr=0.1),
    "Adagrad": lambda ps: optim.Adagrad(ps, lr=0.5),
    "Adadelta": lambda ps: optim.Adadelta(ps, lr=20.0),
    "RMSprop": lambda ps: optim.RMSprop(ps, lr=0.01, momentum=0.5, centered=True),
    "Rprop": lambda ps: optim.Rprop(ps),
    "ASGD": lambda ps: optim.ASGD(ps, lr=0.05),
    "Adafactor": lambda ps: optim.Adafactor(ps, lr=0.05),
}


@pytest.mark.parametrize("name", MAKERS)
def test_it_finds_a_minimum(name: str) -> None:
    x = torch.tensor([3.0, -2.0], requires_grad=True)
    optimizer = MAKERS[name]([x])
    for _ in range(400):
        optimizer.zero_grad()
        ((x - torch.tensor([1.0, 2.0])) ** 2).sum().backward()
        optimizer.step()
    assert x.tolist() == pytest.approx([1.0, 2.0], abs=0.02)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_state_has_the_dtype_of_its_parameter(name: str, dtype: str) -> None:
    x = torch.ones(3, dtype=getattr(torch, dtype), requires_grad=True)
    optimizer = MAKERS[name]([x])
    x.grad = torch.full((3,), 0.5, dtype=x.dtype)
    optimizer.step()
    assert x.dtype is getattr(torch, dtype)
    assert {v.dtype for k, v in optimizer.state[x].items() if k not in optimizer.counters} == {x.dtype}
    assert all(v < 1 for v in x.tolist())


@pytest.mark.parametrize("name", MAKERS)
def test_saving_and_loading_continues_exactly(name: str) -> None:
    def begin() -> tuple[Any, Any]:
        torch.manual_seed(3)
        model = nn.Linear(3, 2)
        return model, MAKERS[name](model.parameters())

    def step(model: Any, optimizer: Any, i: int) -> None:
        optimizer.zero_grad()
        (model(torch.full((1, 3), float(i))) ** 2).sum().backward()
        optimizer.step()

    model, optimizer = begin()
    for i in range(4):
        step(model, optimizer, i)
    saved = pickle.loads(pickle.dumps((model.state_dict(), optimizer.state_dict())))
    for i in range(4, 8):
        step(model, optimizer, i)
    other, resumed = begin()
    other.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    for i in range(4, 8):
        step(other, resumed, i)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_loaded_state_is_not_shared() -> None:
    x = torch.ones(1, requires_grad=True)
    optimizer = MAKERS["SGD"]([x])
    x.grad = torch.ones(1)
    optimizer.step()
    state = optimizer.state_dict()
    copied = copy.deepcopy(state)
    other = MAKERS["SGD"]([torch.ones(1, requires_grad=True)])
    other.load_state_dict(state)
    other.param_groups[0]["params"][0].grad = torch.ones(1)
    other.step()
    assert state["state"][0]["momentum_buffer"].tolist() == copied["state"][0]["momentum_buffer"].tolist()


def test_a_state_that_does_not_fit_changes_nothing() -> None:
    x = torch.ones(1, requires_grad=True)
    optimizer = MAKERS["Adam"]([x])
    x.grad = torch.ones(1)
    optimizer.step()
    before = copy.deepcopy(optimizer.state_dict())
    other = MAKERS["Adam"]([torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True)])
    with pytest.raises(ValueError, match="2 parameters, expected 1"):
        optimizer.load_state_dict(other.state_dict())
    assert optimizer.state_dict()["state"][0]["exp_avg"].tolist() == before["state"][0]["exp_avg"].tolist()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
@pytest.mark.parametrize("name", [*MAKERS, "LBFGS"])
def test_a_copy_goes_on_by_itself(name: str, copied: Any) -> None:
    x = torch.tensor([3.0, -2.0], requires_grad=True)
    optimizer = optim.LBFGS([x], max_iter=3) if name == "LBFGS" else MAKERS[name]([x])

    def step(optimizer: Any) -> Any:
        (param,) = optimizer.param_groups[0]["params"]

        def closure() -> Any:
            optimizer.zero_grad()
            loss = ((param - torch.tensor([1.0, 2.0])) ** 4).sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        return param

    step(optimizer)
    other = copied(optimizer)
    y = step(other)
    assert y is not x
    assert step(optimizer).tolist() == y.tolist()
    assert other.defaults == optimizer.defaults


def test_a_number_of_steps_from_an_older_state_becomes_a_tensor() -> None:
    x = torch.ones(1, requires_grad=True)
    optimizer = optim.NAdam([x])
    x.grad = torch.ones(1)
    optimizer.step()
    state = copy.deepcopy(optimizer.state_dict())
    state["state"][0] |= {"step": 1, "mu_product": 0.9}
    del state["param_groups"][0]["maximize"], state["param_groups"][0]["capturable"]
    optimizer.load_state_dict(state)
    assert torch.is_tensor(optimizer.state[x]["step"]) and torch.is_tensor(optimizer.state[x]["mu_product"])
    assert optimizer.param_groups[0]["maximize"] is False
    optimizer.step()
    assert optimizer.state[x]["step"].item() == 2


def test_adamw_stays_decoupled_whatever_is_loaded() -> None:
    adam, adamw = (kind([torch.ones(1, requires_grad=True)]) for kind in (optim.Adam, optim.AdamW))
    adamw.load_state_dict(adam.state_dict())
    assert adamw.param_groups[0]["decoupled_weight_decay"] is True


class SignDescent(optim.Optimizer):
    """An optimizer as programs for PyTorch define it."""

    def __init__(self, params: Any, lr: Any = optim.optimizer.required) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for param in group["params"]:
                param.add_(param.grad.sign(), alpha=-group["lr"])
                self.state[param]["count"] = self.state[param].get("count", 0) + 1


def test_an_optimizer_with_its_own_step() -> None:
    x = torch.tensor([3.0, -2.0], requires_grad=True)
    calls: list[Any] = []
    optimizer = SignDescent([x], lr=0.5)
    optimizer.register_step_post_hook(lambda o, args, kwargs: calls.append(o))
    x.grad = torch.tensor([1.0, -1.0])
    optimizer.step()
    assert x.tolist() == [2.5, -1.5] and calls == [optimizer]
    assert optimizer.state_dict()["state"] == {0: {"count": 1}}
    with pytest.raises(ValueError, match="required optimization parameter lr"):
        SignDescent([x])


def test_parameters_without_gradients_stay() -> None:
    x, y = (torch.ones(1, requires_grad=True) for _ in range(2))
    optimizer = MAKERS["AdamW"]([x, y])
    x.grad = torch.ones(1)
    optimizer.step()
    assert y.item() == 1.0
    assert list(optimizer.state_dict()["state"]) == [0]


def test_named_parameters_and_text() -> None:
    model = nn.Linear(1, 1)
    optimizer = optim.SGD(model.named_parameters(), lr=0.1)
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    assert "Parameter Group 0" in repr(optimizer)
    assert "lr: 0.1" in repr(optimizer)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -1}, r"Invalid learning rate: -1 \(SGD expects at least 0\)"),
        ({"momentum": -0.5}, r"Invalid momentum value: -0.5 \(SGD expects at least 0\)"),
    ],
)
def test_ranges_are_named(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        optim.SGD([torch.ones(1, requires_grad=True)], **options)  # type: ignore[arg-type]


def test_the_learning_rate_of_a_schedule_is_used() -> None:
    x = torch.zeros(1, requires_grad=True)
    optimizer = optim.SGD([x], lr=1.0)
    schedule = optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    for _ in range(3):
        x.grad = torch.ones(1)
        optimizer.step()
        schedule.step()
    assert x.item() == -1.75
