"""Modules as functions of their parameters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torchlite._tensor import Tensor
from torchlite.nn.module import Module
from torchlite.ops.joining import stack


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: dict[str, Tensor] | Sequence[dict[str, Tensor]],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Call ``module`` with other tensors in place of its parameters and buffers, which stay as they are.

    Args:
        module: what to call.
        parameter_and_buffer_dicts: the tensors by the names of `named_parameters` and `named_buffers`.
        args: a tuple of arguments, or the only one.
        kwargs: keyword arguments.
        tie_weights: what is given for one of several names of a shared parameter counts for all of them.
        strict: whether every parameter and buffer must be given.

    Raises:
        RuntimeError: for a name that the module has not, and with ``strict`` for one that is missing.
        ValueError: when two names of one parameter get different tensors.

    >>> import torchlite as torch
    >>> layer = torch.nn.Linear(2, 1)
    >>> torch.func.functional_call(layer, {"weight": torch.ones(1, 2), "bias": torch.zeros(1)}, torch.tensor([1.0, 2.0]))
    tensor([3.])
    """
    dicts = [parameter_and_buffer_dicts] if isinstance(parameter_and_buffer_dicts, dict) else parameter_and_buffer_dicts
    given = {name: tensor for group in dicts for name, tensor in group.items()}
    places = {f"{prefix}.{name}" if prefix else name: (store, name) for prefix, store, name in _stores(module)}
    unexpected = [name for name in given if name not in places]
    missing = [name for name in places if name not in given] if strict else []
    if unexpected or missing:
        what = (f"unexpected {unexpected}" if unexpected else "") + (f" missing {missing}" if missing else "")
        raise RuntimeError(f"functional_call: names of parameters and buffers do not fit the module: {what.strip()}")
    if tie_weights:
        given = _tied(given, places)
    saved = [(*places[name], places[name][0][places[name][1]]) for name in given]
    try:
        for name, tensor in given.items():
            store, key = places[name]
            store[key] = tensor
        return module(*(() if args is None else args if isinstance(args, tuple) else (args,)), **(kwargs or {}))
    finally:
        for store, key, tensor in saved:
            store[key] = tensor


def stack_module_state(models: Sequence[Module]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The parameters and the buffers of modules of one architecture, stacked along a new first dimension.

    Raises:
        RuntimeError: for no models, or models in different modes or of different classes.
    """
    if not models:
        raise RuntimeError("stack_module_state: expected at least one model, got 0")
    if len({model.training for model in models}) > 1:
        raise RuntimeError("stack_module_state: expected all models to have the same training/eval mode")
    if len({type(model) for model in models}) > 1:
        raise RuntimeError("stack_module_state: expected all models to be of the same class")

    def stacked(states: Iterable[dict[str, Tensor]]) -> dict[str, Tensor]:
        columns = list(states)
        return {
            name: stack([state[name].detach() for state in columns]).requires_grad_(first.requires_grad)
            for name, first in columns[0].items()
        }

    return stacked(dict(m.named_parameters()) for m in models), stacked(dict(m.named_buffers()) for m in models)


def replace_all_batch_norm_modules_(root: Module) -> Module:
    """Let every batch norm inside of ``root`` do without running statistics, which `vmap` can't write, and return it."""
    for module in root.modules():
        if getattr(module, "track_running_stats", False):
            for name in ("running_mean", "running_var", "num_batches_tracked"):
                setattr(module, name, None)
            setattr(module, "track_running_stats", False)  # noqa: B010 - of whatever class it is
    return root


def _stores(module: Module) -> Iterable[tuple[str, dict[str, Any], str]]:
    for prefix, child in module.named_modules(remove_duplicate=False):
        for store in (child._parameters, child._buffers):
            for name, tensor in store.items():
                if tensor is not None:
                    yield prefix, store, name


def _tied(given: dict[str, Tensor], places: dict[str, Any]) -> dict[str, Tensor]:
    groups: dict[int, list[str]] = {}
    for name, (store, key) in places.items():
        groups.setdefault(id(store[key]), []).append(name)
    result = dict(given)
    for names in groups.values():
        values = [given[name] for name in names if name in given]
        if any(value is not values[0] for value in values[1:]):
            raise ValueError(f"functional_call: {names} are one tensor in the module and got different ones")
        for name in names if values else ():
            result[name] = values[0]
    return result
