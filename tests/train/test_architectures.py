"""Networks by name: their shapes, what follows from the data, and the names of their parameters."""

from pathlib import Path

import pytest

import torchlite
from torchlite.train.architectures import GPT, ResNet18, ResNet50, TextTransformer
from torchlite.train.check import check_shapes
from torchlite.train.config.load import require_config
from torchlite.train.plan import make_plan
from torchlite.train.smoke import check_smoke

TEXT = """\
version: 1
data: {type: text, files: [a.txt], context: 8, batch_size: 4}
model: {type: gpt, layers: 2, heads: 2, d_model: 16, tie_weights: true}
loss: sequence_cross_entropy
optim: {type: adam, lr: 0.01}
train: {steps: 2}
"""
IMAGE = """\
version: 1
data: {type: digits, batch_size: 4, transforms: [{to_float: 16}]}
model: {type: resnet18, num_classes: $data.num_classes, stem: small}
freeze: [conv1, bn1, layer1]
optim: {type: sgd, lr: 0.1, groups: [{match: "layer[34]", lr: 0.01}]}
train: {steps: 2}
"""
TABLE = """\
version: 1
data:
  type: csv
  train: people.csv
  inputs: {a: {kind: number}, b: {kind: category, values: [x, y, z]}}
  target: {column: c, kind: binary, classes: ["0", "1"]}
  batch_size: 4
model: {type: tabular_mlp, hidden: [8, 4], dropout: 0.1, out_features: $data.num_classes}
loss: bce_with_logits
optim: {type: adam, lr: 0.01}
train: {epochs: 1}
"""


@pytest.mark.parametrize("text", [TEXT, IMAGE, TABLE], ids=["gpt", "resnet18", "tabular_mlp"])
def test_a_configuration_may_name_a_network(text: str, tmp_path: Path) -> None:
    (tmp_path / "main.yaml").write_text(text)
    config = require_config(tmp_path / "main.yaml")
    summary, problems = check_shapes(config)
    assert problems == [] and summary["params"] > 0
    assert check_smoke(config) == []


def test_the_residual_networks_are_those_that_everybody_knows() -> None:
    small, large = (sum(p.numel() for p in model.parameters()) for model in (ResNet18(3, 1000), ResNet50(3, 1000)))
    assert (small, large) == (11_689_512, 25_557_032)
    names = [name for name, _ in ResNet18(3, 10).named_parameters()]
    assert {"conv1.weight", "bn1.weight", "layer2.0.downsample.1.bias", "layer4.1.conv2.weight", "fc.bias"} <= set(
        names
    )
    assert ResNet50(3, 10).eval()(torchlite.zeros(1, 3, 64, 64)).shape == (1, 10)


def test_a_gpt_sees_nothing_that_comes_later() -> None:
    torchlite.manual_seed(0)
    model = GPT(10, 6, layers=2, heads=2, d_model=8).eval()
    tokens = torchlite.tensor([[1, 2, 3, 4, 5, 6]])
    changed = torchlite.tensor([[1, 2, 3, 9, 9, 9]])
    assert torchlite.allclose(model(tokens)[:, :3], model(changed)[:, :3], atol=1e-6)
    assert not torchlite.allclose(model(tokens)[:, 3:], model(changed)[:, 3:], atol=1e-3)


def test_tied_weights_are_one_parameter() -> None:
    tied, free = (GPT(50, 6, 1, 2, 8, tie_weights=tie) for tie in (True, False))
    assert sum(p.numel() for p in free.parameters()) - sum(p.numel() for p in tied.parameters()) == 50 * 8


def test_a_transformer_tells_classes_of_texts() -> None:
    model = TextTransformer(10, 6, num_classes=3, d_model=8, heads=2)
    assert model(torchlite.zeros(2, 6, dtype=torchlite.int64)).shape == (2, 3)


def test_a_number_of_layers_is_an_argument(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("to be or not to be " * 20)
    (tmp_path / "base.yaml").write_text(TEXT)
    (tmp_path / "main.yaml").write_text("version: 1\nextends: base.yaml\nmodel: {layers: 3}\n")
    config = require_config(tmp_path / "main.yaml")
    assert config.model.component is not None
    assert (config.model.component.name, config.model.component.arguments["layers"]) == ("gpt", 3)
    assert len(make_plan(config).model.encoder.blocks) == 3  # type: ignore[union-attr, arg-type]
