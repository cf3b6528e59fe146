"""The whole way from a file to a Config."""

from collections.abc import Callable
from pathlib import Path

import pytest

from torchlite.errors import ConfigError
from torchlite.train.config.load import Loaded, load_config, require_config
from torchlite.train.config.parts import Duration
from torchlite.train.config.schedules import CosineSchedule

TEXT = """\
version: 1
data: {type: digits, batch_size: 8, split: {val: 0.1}}
model:
  layers:
    - Flatten
    - Linear: 32
    - {type: Linear, out_features: 16, bias: false}
    - Sequential: [ReLU, {Linear: 10}]
loss: mse
optim:
  adamw: {lr: 2e-3, betas: [0.8, 0.9]}
schedule: {cosine: {warmup: 10 steps}}
train: {epochs: 2}
x-note: ignored
"""


def test_a_config_in_each_form_of_component(inspect: Callable[..., Loaded]) -> None:
    loaded = inspect(TEXT)
    assert loaded.ok and loaded.config is not None
    config = loaded.config
    assert config.model.layers is not None
    assert [layer.arguments for layer in config.model.layers] == [
        {},
        {"out_features": 32},
        {"out_features": 16, "bias": False},
        {},
    ]
    assert [layer.name for layer in config.model.layers[3].layers] == ["ReLU", "Linear"]
    assert config.loss.name == "mse"
    assert config.optim.arguments == {"lr": 2e-3, "betas": [0.8, 0.9]}
    assert isinstance(config.schedule, CosineSchedule)
    assert config.schedule.warmup == Duration(10, "steps")
    assert config.train.length == Duration(2, "epochs")
    assert config.seed == 0 and config.eval.every == Duration(1, "epochs")
    assert config.path == Path("main.yaml")


def test_components_build_with_what_is_supplied(inspect: Callable[..., Loaded]) -> None:
    config = inspect(TEXT).config
    assert config is not None and config.model.layers is not None
    assert config.model.layers[1].build(in_features=64).arguments == (64, 32, True)
    assert config.model.layers[2].build(in_features=32).arguments == (32, 16, False)


@pytest.mark.parametrize(
    "path, place",
    [
        (("optim",), (10, 1, 6)),
        (("optim", "lr"), (11, 15, 19)),
        (("model", "layers", 0), (5, 7, 14)),
        (("model", "layers", 1), (6, 7, 13)),
        (("model", "layers", 1, "out_features"), (6, 15, 17)),
        (("model", "layers", 2, "bias"), (7, 46, 51)),
        (("model", "layers", 3, "Sequential", 1), (8, 27, 33)),
        (("loss",), (9, 7, 10)),
        (("loss", "reduction"), (9, 7, 10)),
        (("train", "epochs"), (13, 17, 18)),
        (("train", "clip", "norm"), (13, 1, 6)),
        (("metrics", 0), (1, 1, 11)),
    ],
)
def test_at(path: tuple[str | int, ...], place: tuple[int, int, int], inspect: Callable[..., Loaded]) -> None:
    config = inspect(TEXT).config
    assert config is not None
    at = config.at(path)
    assert at is not None
    assert (at.line, at.col, at.end_col) == place


def test_origins(inspect: Callable[..., Loaded]) -> None:
    loaded = inspect("extends: base.yaml\noptim: {lr: 0.1}\n", "seed=9", base=TEXT)
    assert loaded.config is not None
    origins = loaded.config.origins
    assert origins["optim.lr"] == "main.yaml:2"
    assert origins["optim.type"] == "base.yaml:11"
    assert origins["model.layers.1.out_features"] == "base.yaml:6"
    assert origins["seed"] == "command line: seed=9"
    assert origins["train.accumulate"] == "default"
    assert origins["schedule.min_lr"] == "default"


def test_an_assumed_name_lets_later_checks_run_but_is_an_error(inspect: Callable[..., Loaded], tmp_path: Path) -> None:
    loaded = inspect(TEXT.replace("Flatten", "Flaten"))
    assert loaded.config is not None and not loaded.ok
    assert loaded.config.model.layers is not None and loaded.config.model.layers[0].name == "Flatten"
    assert load_config(tmp_path / "main.yaml")[0] is None


def test_an_assumed_dataset(inspect: Callable[..., Loaded]) -> None:
    loaded = inspect(TEXT.replace("digits", "digit"))
    assert [one.code for one in loaded.diagnostics] == ["TL303"]
    assert loaded.config is not None and loaded.config.data.type == "digits"


def test_require_config_raises_with_every_mistake(inspect: Callable[..., Loaded]) -> None:
    inspect(TEXT.replace("lr: 2e-3", "lr: fast").replace("epochs: 2", "epochs: no"))
    with pytest.raises(ConfigError, match=r"(?s)TL210.*TL202"):
        require_config("main.yaml")


@pytest.mark.parametrize("name", ["missing.yaml", ".", "a\x00b.yaml"])
def test_files_that_cannot_be_read(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config, (found,) = load_config(name)
    assert config is None and (found.code, found.line, found.col) == ("TL100", 1, 1)


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("metrics: accuracy", "write [accuracy]"),
        ("metrics: {accuracy: }", "begin each item with '- '"),
        ("export: onnx", "write [onnx]"),
        ("metrics: 3", None),
    ],
)
def test_what_is_no_list_is_shown_as_one(line: str, hint: str | None, inspect: Callable[..., Loaded]) -> None:
    (found,) = inspect(f"{TEXT}{line}\n").diagnostics
    assert (found.code, found.hint) == ("TL202", hint)


def test_a_file_of_nearly_the_name(tmp_path: Path) -> None:
    (tmp_path / "digits.yaml").write_text("version: 1\n")
    _, (found,) = load_config(tmp_path / "digit.yaml")
    assert found.hint == f"did you mean '{tmp_path / 'digits.yaml'}'?"
    (tmp_path / "mine.py").touch()
    (tmp_path / "small.yaml").write_text("extends: digitz.yaml\ncode: [main.py]\n")
    found_in = {one.code: one.hint for one in load_config(tmp_path / "small.yaml")[1]}
    assert found_in["TL305"] == "did you mean 'digits.yaml'?"
    assert found_in["TL307"] == f"did you mean '{tmp_path / 'mine.py'}'?"


def test_level_syntax_checks_no_section(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("nonsense: 1\n")
    assert load_config(tmp_path / "a.yaml", level="syntax") == (None, [])


@pytest.mark.parametrize(
    "text, steps",
    [("500 steps", 500), ("2 epochs", 200), ("1 epoch", 100), ("0.5 epochs", 50), ("0.001 epochs", 1), ("1 step", 1)],
)
def test_durations(text: str, steps: int) -> None:
    duration = Duration.parse(text)
    assert duration.steps(100) == steps
    assert Duration.parse(str(duration)) == duration


def test_a_list_of_transforms_stands_for_both(inspect: Callable[..., Loaded]) -> None:
    text = TEXT.replace("val: 0.1}", "val: 0.1}, transforms: [to_float, {random_crop: [8, 1]}]")
    config = inspect(text).config
    assert config is not None
    for transforms in (config.data.transforms.train, config.data.transforms.eval):
        assert [one.name for one in transforms] == ["to_float", "random_crop"]
        assert transforms[1].arguments == {"size": 8, "padding": 1}


def test_a_misspelled_section_is_one_finding(inspect: Callable[..., Loaded]) -> None:
    text = TEXT.replace("data:", "dta:").replace("Linear: 32", "Linear: $data.num_classes")
    loaded = inspect(text)
    assert [one.code for one in loaded.diagnostics] == ["TL201"]
    assert loaded.config is not None and loaded.config.data.type == "digits"


def test_a_misspelled_key_does_not_hide_what_it_holds(inspect: Callable[..., Loaded]) -> None:
    loaded = inspect(TEXT.replace("type: digits", "tpye: digit"))
    assert [one.code for one in loaded.diagnostics] == ["TL303", "TL201"]
    assert loaded.config is not None and loaded.config.data.type == "digits"


def test_own_keys_can_be_referred_to(inspect: Callable[..., Loaded]) -> None:
    loaded = inspect(TEXT.replace("Linear: 32", "Linear: $x-size.small") + "x-size: {small: 5}\n")
    assert loaded.ok and loaded.config is not None and loaded.config.model.layers is not None
    assert loaded.config.model.layers[1].arguments == {"out_features": 5}
