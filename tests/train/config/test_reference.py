"""What is said of keys and components, and the JSON Schema for editors, come from the models that check."""

from pathlib import Path
from typing import Any

import pytest

from torchlite.errors import UsageError
from torchlite.train.config.diagnostics import CODES, Findings
from torchlite.train.config.document import parse, to_plain
from torchlite.train.config.json_schema import json_schema
from torchlite.train.config.location import Source
from torchlite.train.config.reference import explain, key_tables, keys, sections

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def catalogue() -> None:
    """The registry as it is, in place of the small one of the other tests."""


@pytest.fixture(scope="module")
def validator() -> Any:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def plain(text: str) -> Any:
    node = parse(Source.of("x", text), text, Findings("x"))
    assert node is not None
    return to_plain(node)


@pytest.mark.parametrize("path", sorted(ROOT.glob("configs/*.yaml")), ids=lambda path: path.stem)
def test_the_schema_takes_every_configuration(path: Path, validator: Any) -> None:
    validator.validate(plain(path.read_text()))


@pytest.mark.parametrize(
    "text",
    [
        "optm: 1",
        "train: {epochs: x}",
        "train: {clip: {norm: -1}}",
        "optim: {type: adamw, lrr: 1}",
        "optim: {adamw: {lrr: 1}}",
        "optim: adamww",
        "schedule: {type: cosine, gamma: 1}",
        "schedule: {type: cosine, warmup: 3}",
        "model: {layers: [Lnear]}",
        "model: {layers: [{Linear: {out_feature: 1}}]}",
        "data: {batch_size: 0}",
        "metrics: accuracy",
    ],
)
def test_the_schema_refuses(text: str, validator: Any) -> None:
    assert not validator.is_valid(plain(text))


@pytest.mark.parametrize(
    "text", ["x-own: 1", "train: {epochs: $vars.n}", "optim: {lr: 1}", "model: {layers: [{'a:Net': {b: 1}}]}"]
)
def test_the_schema_takes(text: str, validator: Any) -> None:
    validator.validate(plain(text))


def test_every_key_is_described_and_explained() -> None:
    for path, model in sections():
        for key in keys(model, path):
            assert key.description.endswith("."), key.path
            assert explain(key.path).startswith(f"{key.path}: ")


@pytest.mark.parametrize("name", [*CODES, "Conv2d", "adamw", "cosine", "OneCycleLR", "accuracy", "optim.weight_decay"])
def test_explained(name: str) -> None:
    assert explain(name).startswith(name)


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(UsageError, match=r"did you mean 'train\.epochs'"):
        explain("train.epchs")
    with pytest.raises(UsageError, match=r"did you mean 'train\.epochs'"):
        explain("epochs")


def test_the_page_is_current() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    assert key_tables() in page, "run python -m torchlite.train.config.reference docs/configuration.md"
