"""Files over files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from torchlite.train.config.diagnostics import Findings
from torchlite.train.config.document import to_plain
from torchlite.train.config.extends import load_tree
from torchlite.train.config.load import Loaded

BASE = """\
version: 1
data: {type: digits, batch_size: 8, split: {val: 0.1}}
model: {layers: [Flatten, {Linear: 10}]}
optim: {type: adamw, lr: 1e-3, betas: [0.9, 0.99]}
train: {epochs: 2}
"""


def merged(folder: Path, **files: str) -> tuple[Any, list[str]]:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    findings = Findings("main.yaml")
    tree = load_tree(folder / "main.yaml", findings)
    return (to_plain(tree.root) if tree else None), [one.code for one in findings.diagnostics]


def test_maps_merge_deep_and_lists_replace(tmp_path: Path) -> None:
    value, found = merged(
        tmp_path,
        main="extends: [a.yaml, b.yaml]\nvars: {m: {z: 3}, l: [9]}\n",
        a="vars: {m: {x: 1, y: 1}, l: [1, 2]}\nname: a\n",
        b="vars: {m: {y: 2}}\nname: b\n",
    )
    assert found == []
    assert value["vars"] == {"m": {"x": 1, "y": 2, "z": 3}, "l": [9]}
    assert value["name"] == "b"


def test_replace_drops_what_is_inherited(tmp_path: Path) -> None:
    value, found = merged(
        tmp_path,
        main="extends: a.yaml\nvars: {$replace: true, z: 3}\n",
        a="vars: {x: 1}\n",
    )
    assert (value["vars"], found) == ({"z": 3}, [])
    assert merged(tmp_path, main="vars: {$replace: yes}\n")[1] == ["TL110", "TL206"]


@pytest.mark.parametrize(
    "new, expected",
    [
        ("optim: {lr: 0.1}", {"type": "adamw", "lr": 0.1, "betas": [0.9, 0.99]}),
        ("optim: {type: adamw, lr: 0.1}", {"type": "adamw", "lr": 0.1, "betas": [0.9, 0.99]}),
        ("optim: {type: sgd, lr: 0.1}", {"type": "sgd", "lr": 0.1}),
        ("optim: {sgd: {lr: 0.1}}", {"sgd": {"lr": 0.1}}),
        ("optim: {adamw: {lr: 0.1}}", {"type": "adamw", "lr": 0.1, "betas": [0.9, 0.99]}),
        ("optim: sgd", "sgd"),
    ],
)
def test_a_new_type_drops_the_arguments_of_the_old(tmp_path: Path, new: str, expected: Any) -> None:
    value, _ = merged(tmp_path, main=f"extends: a.yaml\n{new}\n", a=BASE)
    assert value["optim"] == expected


def test_a_model_by_type_drops_the_layers(tmp_path: Path) -> None:
    value, _ = merged(tmp_path, main="extends: a.yaml\nmodel: {type: Linear, out_features: 1}\n", a=BASE)
    assert value["model"] == {"type": "Linear", "out_features": 1}
    value, _ = merged(tmp_path, main="extends: b.yaml\nmodel: {layers: [ReLU]}\n", b="model: {type: Flatten}\n")
    assert value["model"] == {"layers": ["ReLU"]}


def test_another_dataset_keeps_the_rest_of_data(tmp_path: Path) -> None:
    value, _ = merged(tmp_path, main="extends: a.yaml\ndata: {type: mnist}\n", a=BASE)
    assert value["data"] == {"type": "mnist", "batch_size": 8, "split": {"val": 0.1}}


def test_paths_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "x.yaml").write_text("extends: y.yaml\nname: x\n")
    (tmp_path / "deep" / "y.yaml").write_text("seed: 4\n")
    value, found = merged(tmp_path, main="extends: deep/x.yaml\n")
    assert found == [] and value["seed"] == 4 and value["name"] == "x"


def test_a_loop_is_found_once_where_it_closes(inspect: Callable[..., Loaded]) -> None:
    loaded = inspect("extends: a.yaml\n" + BASE, a="extends: b.yaml\n", b="seed: 1\nextends: a.yaml\n")
    (found,) = loaded.diagnostics
    assert (found.code, found.file, found.line, found.col) == ("TL306", "b.yaml", 2, 10)
    assert found.origin.chain == (("a.yaml", 1), ("main.yaml", 1))


def test_a_doubling_tree_of_files_stops(tmp_path: Path) -> None:
    files = {f"a{i}": f"extends: [a{i + 1}.yaml, a{i + 1}.yaml]\n" for i in range(12)}
    _, found = merged(tmp_path, main="extends: a0.yaml\n", a12="seed: 1\n", **files)
    assert "TL107" in found


def test_an_unreadable_base_hides_no_mistake_of_the_file(inspect: Callable[..., Loaded]) -> None:
    loaded = inspect("extends: a.yaml\noptim: {type: adamw, lrr: 1}\n", a="data: [\n")
    assert [(one.code, one.file) for one in loaded.diagnostics] == [("TL106", "a.yaml"), ("TL203", "main.yaml")]


def test_abstract_files_may_lack_sections_and_are_not_inherited(inspect: Callable[..., Loaded]) -> None:
    abstract = inspect("version: 1\nabstract: true\noptim: {type: adamw}\n")
    assert abstract.abstract and abstract.config is None and abstract.diagnostics == []
    wrong = inspect("version: 1\nabstract: true\noptim: {type: adamw, lr: fast}\n")
    assert [one.code for one in wrong.diagnostics] == ["TL210"]
    assert inspect("extends: a.yaml\nname: b\n", a="abstract: true\n" + BASE).ok
