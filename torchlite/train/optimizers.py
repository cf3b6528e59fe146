"""From the optimizer of a configuration and the parameters of a model to one that steps."""

from __future__ import annotations

from typing import Any

from torchlite import nn
from torchlite.optim import Optimizer
from torchlite.train.config.schema import Optim
from torchlite.train.patterns import matches, without_decay


def make_optimizers(optim: Optim, model: nn.Module) -> dict[str, Optimizer]:
    """The optimizers by the model that each steps; the one of the one model is called ``model``.

    Raises:
        ValueError: when one can't take its parameters.
    """
    if not optim.by_model:
        return {"model": make_optimizer(optim, model)}
    models = dict(model.named_children())
    return {name: make_optimizer(own, models[name]) for name, own in optim.by_model.items()}


def make_optimizer(optim: Optim, model: nn.Module) -> Optimizer:
    """The optimizer over all parameters of ``model``, in the groups that ``optim`` describes.

    Raises:
        ValueError: when the optimizer can't take them.
    """
    assert optim.component is not None
    groups = parameter_groups(optim, model)
    made: Optimizer = optim.component.build(groups if len(groups) > 1 or len(groups[0]) > 1 else groups[0]["params"])
    return made


def parameter_groups(optim: Optim, model: nn.Module) -> list[dict[str, Any]]:
    """The groups in the order of the configuration, those of all other parameters first; empty ones are left out."""
    exempt = without_decay(model, optim.no_decay)
    found: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        place = next((i for i, group in enumerate(optim.groups) if matches(group.match, name)), -1)
        options = optim.groups[place].arguments if place >= 0 else {}
        if name in exempt:
            options = {**options, "weight_decay": 0.0}
        found.setdefault((place, name in exempt), {"params": [], **options})["params"].append(parameter)
    return [found[key] for key in sorted(found)] or [{"params": []}]
