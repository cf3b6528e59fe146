"""Changes from the command line."""

from collections.abc import Callable
from typing import Any

import pytest

from torchlite.train.config.load import Loaded

TEXT = """\
version: 1
data: {type: digits, batch_size: 8, split: {val: 0.1}, transforms: [to_float, {normalize: {mean: 0.5, std: 1}}]}
model: {layers: [Flatten, {Linear: 32}, ReLU, {Linear: 10}]}
optim: {type: adamw, lr: 1e-3, betas: [0.9, 0.99]}
train: {epochs: 2, clip: {norm: 1.0}}
metrics: [accuracy]
"""


@pytest.mark.parametrize(
    "override, path, value",
    [
        ("optim.lr=3e-4", ("optim", "lr"), 3e-4),
        ("optim.betas=0.8,0.9", ("optim", "betas"), [0.8, 0.9]),
        ("seed=7", ("seed",), 7),
        ("name=a-b", ("name",), "a-b"),
        ("name='1'", ("name",), "1"),
        ("train.device=cuda:1", ("train", "device"), "cuda:1"),
        ("data.transforms.normalize.mean=0.1", ("data", "transforms", "train", 1, "mean"), 0.1),
        ("data.transforms.1.normalize.mean=0.1", ("data", "transforms", "train", 1, "mean"), 0.1),
        ("model.layers.1.Linear=64", ("model", "layers", 1, "out_features"), 64),
        ("model.layers.ReLU.inplace=true", ("model", "layers", 2, "inplace"), True),
        ("data.transforms+=hflip", ("data", "transforms", "eval", 2, "type"), "hflip"),
        ("metrics=accuracy", ("metrics", 0, "type"), "accuracy"),
        ("vars.a.b=x", ("vars", "a", "b"), "x"),
        ("schedule.type=cosine", ("schedule", "type"), "cosine"),
        ("schedule=cosine", ("schedule", "type"), "cosine"),
        ("train.clip={value: 2}", ("train", "clip", "value"), 2.0),
    ],
)
def test_values(override: str, path: tuple[Any, ...], value: Any, inspect: Callable[..., Loaded]) -> None:
    loaded = inspect(TEXT, override)
    assert loaded.ok, loaded.diagnostics
    assert loaded.config is not None
    here: Any = loaded.config.resolved()
    for part in path:
        here = here[part]
    assert here == value and type(here) is type(value)


def test_a_new_type_drops_the_old_arguments_whatever_the_order(inspect: Callable[..., Loaded]) -> None:
    loaded = inspect(TEXT, "optim.lr=0.5", "optim.type=sgd")
    assert loaded.ok and loaded.config is not None
    assert loaded.config.resolved()["optim"] == {"type": "sgd", "lr": 0.5}


def test_unset(inspect: Callable[..., Loaded]) -> None:
    loaded = inspect(TEXT, "unset:train.clip", "unset:model.layers.2", "unset:metrics.accuracy")
    assert loaded.ok and loaded.config is not None
    assert loaded.config.train.clip is None
    assert loaded.config.metrics == []
    assert [layer.name for layer in loaded.config.model.layers or []] == ["Flatten", "Linear", "Linear"]


def test_null_and_unset_differ(inspect: Callable[..., Loaded]) -> None:
    (found,) = inspect(TEXT, "data.batch_size=null").diagnostics
    assert found.code == "TL202"
    (found,) = inspect(TEXT, "unset:data.batch_size").diagnostics
    assert found.code == "TL204"


@pytest.mark.parametrize(
    "override, code, col, end_col, hint",
    [
        ("optim.lr=fast", "TL210", 10, 14, ""),
        ("optim.lrr=1", "TL203", 7, 10, "did you mean 'lr'?"),
        ("trian.epochs=5", "TL201", 1, 6, "did you mean 'train'?"),
        ("train.epohs=5", "TL201", 7, 12, "did you mean 'epochs'?"),
        ("optimiser.lr=1", "TL201", 1, 10, "did you mean 'optim'?"),
        ("epochs=5", "TL201", 1, 7, "did you mean 'train.epochs'?"),
        ("train.batch_size=5", "TL201", 7, 17, "did you mean 'data.batch_size' or 'eval.batch_size'?"),
        ("train.loss=mse", "TL201", 7, 11, "did you mean 'loss', outside of 'train'?"),
        ("optim.learning_rate=1", "TL203", 7, 20, "did you mean 'lr'?"),
        ("train.precision=bfloat16", "TL206", 17, 25, "did you mean 'bf16'?"),
        ("train.clip=1.0", "TL202", 12, 15, "its keys are: norm, value"),
        ("model=[Flatten]", "TL202", 7, 16, "write {layers: [...]}"),
        ("optim={adamw: , lr: 1}", "TL213", 8, 13, "write type: adamw"),
        ("schedule={cosine: , warmup: 1 epoch}", "TL213", 11, 17, "write type: cosine"),
        ("version='1'", "TL212", 9, 12, "leave out the quotes"),
        ("train.epochs=", "TL310", 14, 15, "null"),
        ("train..epochs=5", "TL310", 7, 8, "dots"),
        ("train.epochs=[1", "TL106", 14, 15, "]"),
        ("seed.x=1", "TL311", 6, 7, ""),
        ("unset:train.clp", "TL311", 13, 16, "did you mean 'clip'?"),
        ("model.layers.9.x=1", "TL311", 14, 15, "counted from 0"),
        ("model.layers.Linear.bias=false", "TL311", 14, 20, "number"),
        ("model.layers.Relu=1", "TL311", 14, 18, "did you mean 'ReLU'?"),
        ("optim+=1", "TL311", 1, 6, "replaces"),
        ("name=$vars.x", "TL301", 6, 13, ""),
    ],
)
def test_mistakes_point_into_the_argument(
    override: str, code: str, col: int, end_col: int, hint: str, inspect: Callable[..., Loaded]
) -> None:
    text = TEXT if override != "seed.x=1" else TEXT + "seed: 1\n"
    found = [one for one in inspect(text, override).diagnostics if one.code == code]
    assert len(found) == 1
    assert (found[0].line, found[0].col, found[0].end_col) == (1, col, end_col)
    assert found[0].origin.kind == "override" and found[0].origin.argument == override
    assert hint in (found[0].hint or "")
    assert found[0].file == "main.yaml"


@pytest.mark.parametrize(
    "value, hint",
    [
        ("no-cudagraph", "did you mean 'no-cudagraphs'?"),
        ("yes", "write true"),
        ("3", "one of: auto, no-cudagraphs"),
        ("[true]", None),
    ],
)
def test_a_value_of_none_of_several_kinds_is_one_error(
    value: str, hint: str | None, inspect: Callable[..., Loaded]
) -> None:
    (found,) = inspect(TEXT, f"train.compile={value}").diagnostics
    assert found.code == "TL206"
    assert "must be 'auto' or 'no-cudagraphs' or true or false, not " in found.message
    assert found.hint == hint
