"""User classes are read, not run; and imported only to be used."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from torchlite.errors import UserCodeError
from torchlite.train.config.load import Loaded
from torchlite.train.config.usercode import import_class

CODE = """\
raise_on_import = {}["imported"]

class Net(Module):
    inferred = {"in_features": -1}
    def __init__(self, in_features: int, hidden: int, *, dropout: float = 0.1):
        pass

class Child(Net):
    pass

class Bare(nn.Module):
    def forward(self, x): return x

class Foreign(elsewhere.Thing):
    pass
"""

TEXT = """\
version: 1
code: [mine.py]
data: {type: digits, batch_size: 8}
model: {%s}
optim: {type: sgd}
train: {steps: 5}
"""


def load(inspect: Callable[..., Loaded], model: str) -> Loaded:
    Path("mine.py").write_text(CODE)
    return inspect(TEXT % model)


@pytest.mark.parametrize(
    "model",
    [
        'type: "mine:Net", hidden: 3',
        'type: "mine:Child", hidden: 3, dropout: 0.5',
        'type: "mine:Bare"',
        'type: "mine:Foreign", anything: 1',
        'layers: [Flatten, {"mine:Net": 3}]',
    ],
)
def test_valid(model: str, inspect: Callable[..., Loaded]) -> None:
    before = set(sys.modules)
    loaded = load(inspect, model)
    assert loaded.ok, loaded.diagnostics
    assert loaded.config is not None
    assert not any("mine" in name for name in set(sys.modules) - before)


@pytest.mark.parametrize(
    "model, code, hint",
    [
        ('type: "mine:Nett", hidden: 3', "TL307", "did you mean 'Net'?"),
        ('type: "mien:Net", hidden: 3', "TL307", "did you mean 'mine'?"),
        ('type: "other:Net"', "TL307", "mine"),
        ('type: "mine:Net"', "TL207", ""),
        ('type: "mine:Net", hiden: 3', "TL203", "did you mean 'hidden'?"),
        ('type: "mine:Net", hidden: many', "TL210", ""),
        ('type: "mine:Bare", x: 1', "TL203", "takes no arguments"),
    ],
)
def test_mistakes(model: str, code: str, hint: str, inspect: Callable[..., Loaded]) -> None:
    (found,) = load(inspect, model).diagnostics
    assert found.code == code and found.line == 4
    assert hint in (found.hint or "")


def test_files_that_are_no_python(inspect: Callable[..., Loaded]) -> None:
    Path("mine.py").write_text("class Net(:\n")
    (found,) = inspect(TEXT % 'type: "mine:Net"').diagnostics
    assert (found.code, found.line, found.col) == ("TL307", 2, 8)
    assert "line 1" in found.message


def test_import_class(tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text("class Net:\n    pass\nother = 1\n")
    (tmp_path / "bad.py").write_text(CODE)
    assert import_class(tmp_path / "good.py", "Net").__name__ == "Net"
    assert import_class(tmp_path / "good.py", "Net") is import_class(tmp_path / "good.py", "Net")
    with pytest.raises(UserCodeError, match="no class 'other'"):
        import_class(tmp_path / "good.py", "other")
    with pytest.raises(UserCodeError, match="KeyError: 'imported'"):
        import_class(tmp_path / "bad.py", "Net")
