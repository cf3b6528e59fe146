"""Functions around steps and states."""

from typing import Any

import pytest

import torchlite as torch
from torchlite import optim
from torchlite.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook


def made() -> Any:
    x = torch.ones(1, requires_grad=True)
    x.grad = torch.ones(1)
    return optim.SGD([x], lr=0.5)


def test_hooks_of_all_optimizers_surround_those_of_one() -> None:
    calls: list[str] = []
    optimizer = made()
    handles = [
        optimizer.register_step_pre_hook(lambda o, args, kwargs: calls.append("pre")),
        optimizer.register_step_post_hook(lambda o, args, kwargs: calls.append("post")),
        register_optimizer_step_pre_hook(lambda o, args, kwargs: calls.append("pre of all")),
        register_optimizer_step_post_hook(lambda o, args, kwargs: calls.append("post of all")),
    ]
    optimizer.step()
    made().step()
    assert calls == ["pre of all", "pre", "post", "post of all", "pre of all", "post of all"]
    for handle in handles:
        handle.remove()
    optimizer.step()
    assert len(calls) == 6


def test_a_hook_may_change_the_arguments() -> None:
    optimizer = made()
    optimizer.register_step_pre_hook(lambda o, args, kwargs: ((), {"closure": lambda: 7.0}))
    assert optimizer.step() == 7.0
    optimizer.register_step_pre_hook(lambda o, args, kwargs: 3)
    with pytest.raises(RuntimeError, match="None or a tuple"):
        optimizer.step()


def test_a_step_that_calls_its_parents_step_is_one_step() -> None:
    class Counting(optim.SGD):
        def step(self, closure: Any = None) -> Any:
            return super().step(closure)

    calls: list[str] = []
    x = torch.ones(1, requires_grad=True)
    optimizer = Counting([x])
    optimizer.register_step_post_hook(lambda o, args, kwargs: calls.append("post"))
    optimizer.step()
    assert calls == ["post"]


def test_hooks_around_states() -> None:
    calls: list[str] = []
    optimizer = made()
    optimizer.register_state_dict_pre_hook(lambda o: calls.append("second"))
    optimizer.register_state_dict_pre_hook(lambda o: calls.append("first"), prepend=True)
    optimizer.register_state_dict_post_hook(lambda o, state: {**state, "note": 1})
    state = optimizer.state_dict()
    assert calls == ["first", "second"] and state["note"] == 1

    def halved(o: Any, state: dict[str, Any]) -> dict[str, Any]:
        groups = [{**group, "lr": group["lr"] / 2} for group in state["param_groups"]]
        return {**state, "param_groups": groups}

    optimizer.register_load_state_dict_pre_hook(halved)
    optimizer.register_load_state_dict_post_hook(lambda o: calls.append(f"loaded {o.param_groups[0]['lr']}"))
    optimizer.load_state_dict(state)
    assert calls[-1] == "loaded 0.25"


def test_a_swapped_in_state_is_taken_out_again() -> None:
    x = torch.ones(2, requires_grad=True)
    optimizer = optim.Adam([x], lr=0.1)
    x.grad = torch.ones(2)
    optimizer.step()
    own_groups, own_state, before = optimizer.param_groups[0]["params"], optimizer.state, x.tolist()
    y = torch.zeros(2, requires_grad=True)
    y.grad = torch.ones(2)
    state = {**optimizer.state_dict()}
    state["state"] = {0: {k: v.clone() for k, v in state["state"][0].items()}}
    with optim.swap_in_optimizer_params_and_state(optimizer, {"y": y}, state):
        optimizer.step()
    assert optimizer.param_groups[0]["params"] is own_groups and optimizer.state is own_state
    assert x.tolist() == before and y.tolist() != [0.0, 0.0]
    assert state["state"][0]["step"].item() == 2 and own_state[x]["step"].item() == 1
    for wrong in ({}, {**state, "param_groups": []}, {**state, "state": {5: {}}}, {**state, "state": {0: 1}}):
        with (
            pytest.raises(RuntimeError, match="swap_in"),
            optim.swap_in_optimizer_params_and_state(optimizer, {"y": y}, wrong),
        ):
            pass


def test_a_wrapper_that_begins_without_the_base() -> None:
    """As widespread forms of Lookahead do."""

    class Wrapper(optim.Optimizer):
        def __init__(self, inner: optim.Optimizer) -> None:
            self.inner, self.param_groups, self.state = inner, inner.param_groups, inner.state

        def step(self, closure: Any = None) -> Any:
            return self.inner.step(closure)

    inner = made()
    Wrapper(inner).step()
    assert inner.param_groups[0]["params"][0].tolist() == [0.5]
