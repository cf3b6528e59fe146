"""The registry over the real classes."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from torchlite import nn, optim
from torchlite.train.config.components import describe
from torchlite.train.config.load import inspect_config, require_config
from torchlite.train.registry import Range, Registry, registry, signature

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


def parameters(kind: Any, name: str) -> list[str]:
    component = registry.find(kind, name)
    assert component is not None
    return [parameter.name for parameter in signature(kind, component).parameters]


def test_layers_are_the_modules_that_take_an_input() -> None:
    names = registry.names("layer")
    assert {"Linear", "Conv2d", "Sequential", "ReLU", "Identity", "LayerNorm"} <= set(names)
    assert not {"Module", "ModuleList", "ModuleDict", "CrossEntropyLoss", "functional", "Parameter"} & set(names)
    assert registry.find("layer", "Linear") is nn.Linear
    assert registry.find("layer", "linear") is None


def test_losses_and_optimizers() -> None:
    assert registry.find("loss", "bce_with_logits") is nn.BCEWithLogitsLoss
    assert registry.find("optimizer", "adamw") is optim.AdamW
    offered = {name for name in optim.__all__ if isinstance(getattr(optim, name), type)} - {"Optimizer"}
    assert registry.names("optimizer") == sorted(name.lower() for name in offered)


def test_signatures_leave_out_what_training_supplies_and_what_cannot_be_written() -> None:
    assert parameters("layer", "Linear") == ["in_features", "out_features", "bias"]
    assert parameters("optimizer", "sgd") == ["lr", "momentum", "dampening", "weight_decay", "nesterov", "maximize"]
    assert parameters("optimizer", "adafactor")[:3] == ["lr", "beta2_decay", "eps"]
    assert "weight" not in parameters("loss", "cross_entropy")
    assert "label_smoothing" in parameters("loss", "cross_entropy")


def test_what_may_be_a_tensor_is_written_as_a_number() -> None:
    taken = signature("optimizer", optim.Adam)
    annotations = {name: found.annotation for name in ("lr", "betas", "eps") if (found := taken.find(name))}
    assert annotations == {"lr": float, "betas": tuple[float, float], "eps": float}
    assert describe(annotations["betas"]) == "a list of 2 numbers"


def test_inferred_arguments() -> None:
    assert signature("layer", nn.Linear).inferred == {"in_features"}
    assert signature("layer", nn.Conv2d).inferred == {"in_channels"}
    assert signature("layer", nn.ReLU).inferred == frozenset()


def test_containers() -> None:
    assert signature("layer", nn.Sequential).takes_layers
    assert not signature("layer", nn.Identity).takes_layers


def test_ranges() -> None:
    assert Range(0, 1).holds(0) and Range(0, 1).holds(1) and not Range(0, 1).holds(float("nan"))
    assert not Range(0, open_low=True).holds(0)
    assert [str(one) for one in (Range(1), Range(0, open_low=True), Range(0, 1))] == [
        "at least 1",
        "greater than 0",
        "from 0 to 1",
    ]


def test_replaced_tables_come_back() -> None:
    own = Registry({"metric": {"a": int}})
    with own.replaced({"metric": {"b": int}}):
        assert own.names("metric") == ["b"]
    assert own.names("metric") == ["a"]


def test_every_configuration_in_the_repository_is_valid(pytestconfig: pytest.Config) -> None:
    for needed in ("torchlite.datasets.catalogue", "torchlite.vision.transforms", "torchlite.train.metrics"):
        pytest.importorskip(needed, exc_type=ModuleNotFoundError)
    from torchlite.train.config.validate import validate

    report = validate([str(pytestconfig.rootpath / "configs")], options="schema")
    assert len(report.files) >= 6
    assert [str(found) for found in report.diagnostics] == []


@pytest.mark.parametrize("path", CONFIGS, ids=[path.stem for path in CONFIGS])
def test_the_resolved_configuration_loads_to_an_equal_one(path: Path, tmp_path: Path) -> None:
    config = require_config(path)
    for file in config.code:
        shutil.copy(path.parent / file, tmp_path)
    (tmp_path / "resolved.yaml").write_text(yaml.safe_dump(config.resolved(), sort_keys=False))
    again = require_config(tmp_path / "resolved.yaml")
    assert inspect_config(tmp_path / "resolved.yaml").diagnostics == []
    assert again.resolved() == config.resolved()
    assert again.model == config.model and again.optim == config.optim and again.schedule == config.schedule
