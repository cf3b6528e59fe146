"""Optimizers and schedules against PyTorch's, step by step in float64."""

import inspect
import itertools
from typing import Any

import numpy as np
import pytest
from oracle import BOTH, assert_same, torch

import torchlite

STEPS = 50

SGD = [
    {"lr": 0.1, "momentum": m, "dampening": d, "weight_decay": w, "nesterov": n, "maximize": x}
    for m, d, w, n, x in itertools.product((0, 0.9), (0, 0.3), (0, 0.01), (False, True), (False, True))
    if not n or (m and not d)
]
ADAM = [
    {"lr": 0.02, "betas": b, "eps": e, "weight_decay": w, "amsgrad": a, "maximize": x}
    for b, e, w, a, x in itertools.product(
        ((0.9, 0.999), (0.5, 0.9)), (1e-8, 1e-3), (0, 0.1), (False, True), (False, True)
    )
]
GRID = [("SGD", o) for o in SGD] + [("Adam", o) for o in ADAM] + [("AdamW", o) for o in ADAM]
GRID += [("AdamW", {}), ("Adam", {}), ("SGD", {})]


class Problem:
    """A least-squares problem whose gradients come from each library's own backward."""

    def __init__(self, T: Any, name: str, options: dict[str, Any]) -> None:
        rng = np.random.default_rng(2)
        self.T = T
        self.x = T.tensor(rng.normal(size=(8, 3)))
        self.y = T.tensor(rng.normal(size=(8, 2)))
        self.weight = T.tensor(rng.normal(size=(2, 3)), requires_grad=True)
        self.bias = T.tensor(rng.normal(size=2), requires_grad=True)
        self.unused = T.tensor(rng.normal(size=2), requires_grad=True)
        self.optimizer = getattr(T.optim, name)([self.weight, self.bias, self.unused], **options)

    def step(self) -> Any:
        self.optimizer.zero_grad()
        loss = ((self.x @ self.weight.t() + self.bias - self.y) ** 2).mean()
        loss.backward()
        self.optimizer.step()
        return loss

    def parameters(self) -> list[Any]:
        return [self.weight, self.bias, self.unused]


@pytest.mark.parametrize(("name", "options"), GRID, ids=str)
def test_fifty_steps(name: str, options: dict[str, Any]) -> None:
    ours, theirs = (Problem(T, name, options) for T in BOTH)
    for step in range(STEPS):
        assert_same(ours.step(), theirs.step(), what=f"loss {step}")
    assert_same(ours.parameters(), theirs.parameters())


def as_(T: Any, state: Any) -> Any:
    """A state_dict with its tensors in library ``T``."""
    if isinstance(state, dict):
        return {k: as_(T, v) for k, v in state.items()}
    if isinstance(state, list):
        return [as_(T, v) for v in state]
    return T.tensor(np.array(state.detach().numpy())) if hasattr(state, "detach") else state


INTERCHANGED = [
    ("SGD", {"lr": 0.1}), ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}), ("Adam", {"lr": 0.02}),
    ("Adam", {"lr": 0.02, "amsgrad": True}), ("AdamW", {"lr": 0.02}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options"), INTERCHANGED, ids=str)
@pytest.mark.parametrize("source", ["torchlite", "torch"])
def test_state_goes_both_ways(name: str, options: dict[str, Any], source: str) -> None:
    first, second = BOTH if source == "torchlite" else reversed(BOTH)
    begun, continued = Problem(first, name, options), Problem(second, name, {"lr": 0.7})
    for _ in range(5):
        begun.step()
    continued.optimizer.load_state_dict(as_(second, begun.optimizer.state_dict()))
    with first.no_grad(), second.no_grad():
        for mine, its in zip(continued.parameters(), begun.parameters(), strict=True):
            mine.copy_(second.tensor(its.detach().numpy()))
    for _ in range(10):
        a, b = (begun.step(), continued.step()) if source == "torchlite" else reversed((begun.step(), continued.step()))
        assert_same(a, b)
    pair = (begun.parameters(), continued.parameters())
    assert_same(*(pair if source == "torchlite" else reversed(pair)))


@pytest.mark.parametrize(("name", "options"), INTERCHANGED, ids=str)
def test_state_dicts_have_the_same_structure(name: str, options: dict[str, Any]) -> None:
    states = []
    for T in BOTH:
        problem = Problem(T, name, options)
        problem.step()
        states.append(problem.optimizer.state_dict())
    ours, theirs = states
    assert list(ours) == list(theirs)
    assert list(ours["state"]) == list(theirs["state"])
    for a, b in zip(ours["state"].values(), theirs["state"].values(), strict=True):
        assert set(a) == set(b)
        for key in b:
            assert_same(a[key], b[key], what=key)
    for a, b in zip(ours["param_groups"], theirs["param_groups"], strict=True):
        assert set(a) <= set(b)
        assert {k: b[k] for k in a} == a


@pytest.mark.parametrize("name", sorted({n for n in torchlite.optim.__all__ if n[0].isupper()} - {"Optimizer"}))
def test_text_and_signature(name: str) -> None:
    def text(T: Any) -> str:
        return repr(getattr(T.optim, name)([T.ones(2, 2, requires_grad=True)]))

    def arguments(T: Any) -> list[tuple[str, Any, Any]]:
        taken = inspect.signature(getattr(T.optim, name)).parameters.values()
        return [(p.name, p.default, p.kind) for p in taken]

    assert text(torchlite) == text(torch)
    assert arguments(torchlite) == arguments(torch)


def test_all_of_torch_optim_is_here() -> None:
    assert set(torch.optim.__all__) - set(torchlite.optim.__all__) == {"SparseAdam"}


def test_groups() -> None:
    def run(T: Any) -> Any:
        a, b, c = (T.tensor([v], dtype=T.float64, requires_grad=True) for v in (1.0, 2.0, 3.0))
        optimizer = T.optim.SGD([{"params": [a], "lr": 0.5}, {"params": b, "momentum": 0.9}], lr=0.1)
        optimizer.add_param_group({"params": [c], "weight_decay": 0.1})
        for _ in range(5):
            optimizer.zero_grad()
            (a**2 + b**2 + c**2).sum().backward()
            optimizer.step()
        return [a, b, c, [g["lr"] for g in optimizer.param_groups], [len(g["params"]) for g in optimizer.param_groups]]

    assert_same(run(torchlite), run(torch))


@pytest.mark.filterwarnings("ignore:optimizer contains a parameter group with duplicate parameters")
def test_a_parameter_that_is_there_twice() -> None:
    def run(T: Any) -> Any:
        x, y = (T.tensor([v], dtype=T.float64, requires_grad=True) for v in (1.0, 2.0))
        optimizer = T.optim.Adam([x, y, x], lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            (x**2 + y**2).sum().backward()
            optimizer.step()
        return [x, y, optimizer.state[x]["step"]]

    assert_same(run(torchlite), run(torch))


def test_closures_hooks_and_zero_grad() -> None:
    def run(T: Any) -> Any:
        x = T.tensor([3.0], dtype=T.float64, requires_grad=True)
        optimizer = T.optim.SGD([x], lr=0.1)
        calls: list[str] = []
        pre = optimizer.register_step_pre_hook(lambda o, args, kwargs: calls.append("pre"))
        optimizer.register_step_post_hook(lambda o, args, kwargs: calls.append("post"))

        def closure() -> Any:
            optimizer.zero_grad()
            loss = (x**2).sum()
            loss.backward()
            return loss

        loss = optimizer.step(closure)
        pre.remove()
        optimizer.step(closure)
        optimizer.zero_grad(set_to_none=False)
        zero = x.grad
        optimizer.zero_grad()
        return [loss, x, calls, zero, x.grad is None]

    assert_same(run(torchlite), run(torch))


REFUSED: dict[str, Any] = {
    "nothing": lambda T: T.optim.SGD([], lr=0.1),
    "tensor": lambda T: T.optim.SGD(T.ones(1, requires_grad=True), lr=0.1),
    "number": lambda T: T.optim.SGD([1.0], lr=0.1),
    "result": lambda T: T.optim.SGD([T.ones(1, requires_grad=True) * 2], lr=0.1),
    "rate": lambda T: T.optim.SGD([T.ones(1, requires_grad=True)], lr=-0.1),
    "momentum": lambda T: T.optim.SGD([T.ones(1, requires_grad=True)], lr=0.1, momentum=-1),
    "nesterov": lambda T: T.optim.SGD([T.ones(1, requires_grad=True)], lr=0.1, nesterov=True),
    "betas": lambda T: T.optim.Adam([T.ones(1, requires_grad=True)], betas=(0.9, 1.0)),
    "eps": lambda T: T.optim.Adam([T.ones(1, requires_grad=True)], eps=-1),
    "decay": lambda T: T.optim.AdamW([T.ones(1, requires_grad=True)], weight_decay=-1),
    "twice": lambda T: T.optim.SGD([{"params": [p := T.ones(1, requires_grad=True)]}, {"params": [p]}], lr=0.1),
    "groups": lambda T: Problem(T, "SGD", {"lr": 1}).optimizer.load_state_dict({"state": {}, "param_groups": []}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    with pytest.raises(Exception) as theirs:
        REFUSED[name](torch)
    with pytest.raises(theirs.type) as ours:
        REFUSED[name](torchlite)
    assert len(str(ours.value)) > 15
