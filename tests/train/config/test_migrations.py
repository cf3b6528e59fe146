"""An older file is read as if it were new."""

from collections.abc import Callable

import pytest

from torchlite.train.config import migrations
from torchlite.train.config.fixes import fixed_text
from torchlite.train.config.load import Loaded
from torchlite.train.config.migrations import Renamed

OLD = """\
version: 0   # as it was
dataset: {type: mnist, batch: 8, transforms: [to_float]}
model: {layers: [Flatten, {Linear: 10}]}
optim: {type: sgd, lr: 0.1}
train: {epochs: 1, clip: {max_norm: 1.0}}
"""
NEW = OLD.replace("version: 0", "version: 1").replace("dataset", "data").replace("batch:", "batch_size:")
NEW = NEW.replace("max_norm", "norm")
CHANGES = {0: [Renamed("dataset", "data"), Renamed("data.batch", "batch_size"), Renamed("train.clip.max_norm", "norm")]}


@pytest.fixture(autouse=True)
def older_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "MIGRATIONS", CHANGES)


def test_every_change_is_a_warning_with_its_replacement(inspect: Callable[..., Loaded]) -> None:
    loaded = inspect(OLD)
    assert loaded.ok
    assert loaded.config is not None
    assert (loaded.config.version, loaded.config.data.batch_size) == (1, 8)
    assert [(one.code, one.line, one.col) for one in loaded.diagnostics] == [
        ("TL902", 1, 10),
        ("TL902", 2, 1),
        ("TL902", 2, 24),
        ("TL902", 5, 27),
    ]
    assert fixed_text(OLD, [one.fix for one in loaded.diagnostics if one.fix is not None]) == NEW
    assert inspect(NEW).diagnostics == []


def test_a_base_may_be_older_than_what_extends_it(inspect: Callable[..., Loaded]) -> None:
    loaded = inspect("version: 1\nextends: base.yaml\nname: new\n", base=OLD)
    assert loaded.ok
    assert {one.file for one in loaded.diagnostics} == {"base.yaml"}


def test_a_version_that_is_unknown_is_an_error(inspect: Callable[..., Loaded]) -> None:
    assert "TL212" in [one.code for one in inspect(NEW.replace("version: 1", "version: 7")).diagnostics]
