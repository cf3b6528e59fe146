"""init: every example can be written, and what is written trains."""

import shutil

import pytest
import yaml

from torchlite.datasets.catalogue import PACKAGE_FOLDER
from torchlite.errors import DataError
from torchlite.train.beginning import from_table, templates
from torchlite.train.beginning_folder import from_folder


@pytest.mark.parametrize("name", sorted(templates()))
def test_every_example_is_whole(torchlite, name, tmp_path):
    assert torchlite("init", name).code == 0
    if name not in ("digits_finetune", "digits_distill"):  # which begin with the weights of another run
        assert torchlite("validate", f"{name}.yaml", "--import-code").code == 0
    assert "../" not in (tmp_path / f"{name}.yaml").read_text()
    assert torchlite("init", name).code == 0  # the same files again are no harm


def test_every_example_says_what_it_is(torchlite):
    assert all(templates().values())
    unknown = torchlite("init", "digits_mpl")
    assert unknown.code == 2
    assert "digits_mlp" in unknown.err


def test_ci(torchlite, tmp_path):
    assert torchlite("init", "--ci").code == 0
    assert "validate" in (tmp_path / ".github/workflows/configurations.yml").read_text()


@pytest.mark.parametrize(("target", "kind", "loss"), [("price", "number", "mse"), ("kind", "class", "cross_entropy")])
def test_tasks_are_told_from_the_target(tmp_path, target, kind, loss):
    path = tmp_path / "t.csv"
    path.write_text("price,kind,same\n" + "".join(f"{i * 1.5},{'ab'[i % 2]},x\n" for i in range(40)))
    made = from_table(path, target)
    assert f"kind: {kind}" in made.text
    assert f"loss: {loss}" in made.text
    assert any("'same' left out" in note for note in made.notes)


@pytest.mark.parametrize(("name", "facts"), [("shapes", "size: [20, 20]"), ("sounds", "clip: 250 ms")])
def test_a_folder_of_classes_becomes_a_configuration(torchlite, name, facts, tmp_path):
    made = torchlite("init", "--from-data", str(PACKAGE_FOLDER / "bundled" / name))
    assert made.code == 0 and "3 classes" in made.err
    text = (tmp_path / f"{name}.yaml").read_text()
    assert facts in text
    assert torchlite("validate", f"{name}.yaml", "--level", "data", "--strict").code == 0


def test_folders_of_splits_are_told_from_folders_of_classes(tmp_path):
    for split in ("train", "valid", "test"):
        shutil.copytree(PACKAGE_FOLDER / "bundled" / "shapes", tmp_path / "all" / split)
    data = yaml.safe_load(from_folder(tmp_path / "all").text)["data"]
    assert (data["root"], data["val"]) == (str(tmp_path / "all" / "train"), str(tmp_path / "all" / "valid"))
    assert "split" not in data
    with pytest.raises(DataError, match="no folders of at least two classes"):
        from_folder(tmp_path / "all" / "train" / "circle")
