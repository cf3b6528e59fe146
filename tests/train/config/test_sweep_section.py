"""What is wrong with a sweep is found before it starts, at the value that is wrong."""

from pathlib import Path

import pytest

from torchlite.train.config.load import load_config, require_config

TEXT = """\
version: 1
data: {type: digits, batch_size: 8, split: {val: 0.1}}
model: {layers: [Flatten, {Linear: 32}, {Dropout: 0.1}, {Linear: 10}]}
optim: {adamw: {lr: 2e-3}}
schedule: {type: cosine, warmup: 2 epochs}
train: {epochs: 9}
metrics: [accuracy]
sweep:
  method: random
  trials: 4
  params:
    optim.lr: {log_uniform: [1e-4, 1e-2]}
    data.batch_size: [8, 16]
"""


@pytest.fixture(autouse=True)
def catalogue() -> None:
    """The registry as it is, in place of the small one of the other tests."""


def findings(tmp_path: Path, old: str, new: str) -> list[tuple[str, int, int]]:
    assert old in TEXT
    path = tmp_path / "sweep.yaml"
    path.write_text(TEXT.replace(old, new))
    return [(one.code, one.line, one.col) for one in load_config(path)[1]]


LR, SIZES = "optim.lr: {log_uniform: [1e-4, 1e-2]}", "data.batch_size: [8, 16]"


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("sweep:", "sweep:", []),
        (LR, "optim.lrr: [1]", [("TL203", 12, 11)]),
        (LR, '"train.epoch": [4]', [("TL201", 12, 12)]),
        (LR, "train.epochs: [2, x]", [("TL202", 12, 23)]),
        (LR, "train.epochs: [2, 1]", [("TL404", 12, 23)]),
        (LR, "model.layers.Dropout: {uniform: [0, 3]}", [("TL205", 12, 41)]),
        (LR, "model.layers.Linear: [1]", [("TL311", 12, 18)]),
        (LR, "optim: [sgd, {adamw: {lrr: 3}}]", [("TL203", 12, 27)]),
        (LR, "sweep.seed: [1]", [("TL415", 12, 17)]),
        (LR, "seed: {int_uniform: [3, 2]}", [("TL205", 12, 25)]),
        (LR, "optim.lr: {log_uniform: [0, 1]}", [("TL205", 12, 29), ("TL205", 12, 30)]),
        (LR, "optim.lr: {choice: [1], uniform: [1, 2]}", [("TL211", 12, 29)]),
        (LR, "optim.lr: []", [("TL205", 12, 15)]),
        (SIZES, "data.batch_size: {uniform: [8, 16]}", [("TL202", 13, 33), ("TL202", 13, 36)]),
        (SIZES, "data.batch_size: {int_uniform: [8, 16]}", []),
        ("trials: 4", "trails: 4", [("TL201", 10, 3)]),
        ("  trials: 4\n", "", [("TL204", 8, 1)]),
        ("method: random", "method: randon", [("TL206", 9, 11)]),
        ("method: random", "method: grid", [("TL402", 10, 11), ("TL415", 12, 5)]),
        ("method: random", "method: random\n  monitor: val/acuracy", [("TL401", 10, 12)]),
        ("method: random", "method: asha\n  asha: {first: 3 steps}", [("TL415", 10, 17)]),
        ("method: random", "method: asha\n  asha: {first: 9 epochs}", [("TL411", 10, 17)]),
        ("method: random", "method: random\n  asha: {factor: 2}", [("TL402", 10, 3)]),
    ],
)
def test_a_mistake_is_reported_where_it_is(tmp_path, old, new, found) -> None:
    got = findings(tmp_path, old, new)
    assert [(code, line) for code, line, _ in got] == [(code, line) for code, line, _ in found]
    assert [col for *_, col in got if col > 5] == [col for *_, col in found if col > 5]


def test_the_resolved_configuration_is_what_one_run_trains_and_has_no_sweep(tmp_path) -> None:
    import yaml

    path = tmp_path / "sweep.yaml"
    path.write_text(TEXT)
    config = require_config(path)
    again = tmp_path / "again.yaml"
    again.write_text(yaml.safe_dump(config.resolved()))
    assert config.sweep is not None and require_config(again).sweep is None
    assert require_config(again).resolved() == config.resolved()
