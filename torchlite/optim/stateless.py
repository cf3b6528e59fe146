"""An optimizer on other parameters and another state than its own, for a while."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torchlite._tensor import Tensor
from torchlite.optim.optimizer import Optimizer

_NAME = "swap_in_optimizer_params_and_state"


@contextmanager
def swap_in_optimizer_params_and_state(
    optimizer: Optimizer, swapin_parameters: Mapping[str, Tensor], swapin_optim_state: dict[str, Any]
) -> Iterator[None]:
    """Within the context ``optimizer`` works on ``swapin_parameters``, from ``swapin_optim_state``.

    Tensors are not copied: what a step writes into them stays. Everything else is put back at the end.

    Args:
        optimizer: one that has made a step.
        swapin_parameters: by name, in the order of the optimizer's own.
        swapin_optim_state: as `Optimizer.state_dict` gives it.

    Raises:
        RuntimeError: for an optimizer without state, and for what does not have its shape.
    """
    if not optimizer.state:
        raise RuntimeError(f"{_NAME} requires initialized optimizer state.")
    state, groups = _checked(optimizer, swapin_optim_state)
    tensors = list(swapin_parameters.values())
    numbers = [number for group in groups for number in group["params"]]
    if len(numbers) > len(tensors):
        raise RuntimeError(
            f"{_NAME} requires the explicit parameter state to match optimizer.param_groups ordering: "
            f"{len(tensors)} tensors for {len(numbers)} parameters"
        )
    own_state, own_groups = optimizer.state, [dict(group) for group in optimizer.param_groups]
    try:
        place = 0
        for group, other in zip(optimizer.param_groups, groups, strict=True):
            count = len(other["params"])
            group.update({**other, "params": tensors[place : place + count]})
            place += count
        optimizer.state = defaultdict(dict)
        for number, tensor in zip(numbers, tensors, strict=False):
            optimizer.state[tensor] = dict(state.get(number, {}))
        yield
    finally:
        for group, own in zip(optimizer.param_groups, own_groups, strict=True):
            group.clear()
            group.update(own)
        optimizer.state = own_state


def _checked(optimizer: Optimizer, given: Any) -> tuple[dict[int, Any], list[dict[str, Any]]]:
    """The state by number and the groups of a state_dict that fits the optimizer."""
    if not isinstance(given, dict):
        raise RuntimeError(f"{_NAME} requires a state_dict of an optimizer, got {type(given).__name__}.")
    state, groups = given.get("state"), given.get("param_groups")
    if not isinstance(state, dict) or not all(type(k) is int and isinstance(v, dict) for k, v in state.items()):
        raise RuntimeError(
            f"{_NAME} requires swapin_optim_state['state'] to be a dict mapping packed parameter ids to dictionaries."
        )
    if not isinstance(groups, list) or len(groups) != len(optimizer.param_groups):
        raise RuntimeError(
            f"{_NAME} requires swapin_optim_state['param_groups'] to be a list of {len(optimizer.param_groups)} groups, "
            "as many as the optimizer has."
        )
    for i, (group, own) in enumerate(zip(groups, optimizer.param_groups, strict=True)):
        numbers = group.get("params") if isinstance(group, dict) else None
        if not isinstance(numbers, list) or not all(isinstance(number, int) for number in numbers):
            raise RuntimeError(f"{_NAME} requires group {i} to be a dict whose 'params' are packed parameter ids.")
        if len(numbers) != len(own["params"]) or group.keys() != own.keys():
            raise RuntimeError(
                f"{_NAME}: group {i} has {len(numbers)} params, the optimizer {len(own['params'])}; keys only in one: "
                f"{sorted(group.keys() ^ own.keys())}"
            )
    extra = state.keys() - {number for group in groups for number in group["params"]}
    if extra:
        raise RuntimeError(f"{_NAME} got state for parameters that are in no group: {sorted(extra)}")
    return state, groups
