import json
import math
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from torchlite.errors import CheckpointError
from torchlite.serialization import read_safetensors
from torchlite.train.checkpoint import CheckpointStore


def save(store: CheckpointStore, step: int, metric: float | None = None, mode: Any = "min") -> Path:
    return store.save(
        step, {"weight": np.full(3, step)}, {"step": np.array(step)}, {"s": step}, metric=metric, mode=mode
    )


def break_file(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_everything_comes_back_exactly(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "run" / "checkpoints")
    model = {
        "b": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "a": np.ones(2, ml_dtypes.bfloat16),
        "0-d": np.array(True),
        "empty": np.zeros((0, 4)),
    }
    state = {"rng": [2**100, 7], "lr": 0.1, "best": math.inf, "betas": (0.9, 0.999), "nested": {"x": None}}
    folder = store.save(123, model, {"exp_avg": np.ones(2)}, state, metric=0.25)
    assert folder.name == "step-000123"
    checkpoint = store.load()
    assert (checkpoint.step, checkpoint.metric, checkpoint.folder) == (123, 0.25, folder)
    assert list(checkpoint.model) == ["b", "a", "0-d", "empty"]
    for name, array in model.items():
        assert checkpoint.model[name].dtype == array.dtype and checkpoint.model[name].shape == array.shape
        assert checkpoint.model[name].tobytes() == array.tobytes()
        assert checkpoint.model[name].flags.writeable
    assert checkpoint.optim["exp_avg"].tolist() == [1, 1]
    assert checkpoint.state == state and checkpoint.warnings == ()


def test_files_are_plain_formats(tmp_path: Path) -> None:
    folder = save(CheckpointStore(tmp_path), 7, metric=1.0)
    assert {path.name for path in folder.iterdir()} == {
        "model.safetensors",
        "optim.safetensors",
        "state.json",
        "MANIFEST.json",
    }
    assert read_safetensors(folder / "model.safetensors")[0]["weight"].tolist() == [7, 7, 7]
    manifest = json.loads((folder / "MANIFEST.json").read_text())
    assert manifest["tensors"]["model.safetensors"]["weight"]["size"] == 24
    assert json.loads((tmp_path / "last.json").read_text())["folder"] == folder.name


def test_keeps_the_last_and_the_best(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep_last=2, keep_best=1)
    for step, metric in enumerate([5.0, 1.0, 3.0, math.nan, 2.0, 4.0]):
        save(store, step, metric)
    assert store.steps() == [1, 4, 5]
    assert store.load("best").step == 1 and store.load("last").step == 5


def test_best_of_a_maximum_and_of_several(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep_last=2, keep_best=2)
    for step, metric in enumerate([0.1, 0.9, 0.8, 0.9, None, 0.2, 0.3]):
        save(store, step, metric, "max")
    assert store.steps() == [1, 3, 5, 6]
    assert store.load("best").step == 1


def test_without_metrics_there_is_no_best(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    save(store, 1)
    with pytest.raises(CheckpointError, match=r"no .*best\.json; steps with a checkpoint: 1"):
        store.load("best")
    save(store, 2, 0.5)
    assert store.load("best").step == 2
    save(store, 2)
    with pytest.raises(CheckpointError, match=r"no .*best\.json"):
        store.load("best")


def test_same_step_is_replaced(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    save(store, 1)
    store.save(1, {"other": np.zeros(1)}, {}, {})
    assert store.load(1).model.keys() == {"other"} and store.steps() == [1]


def test_newest_is_what_was_saved_last_not_the_highest_step(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    for step in (10, 20, 15):
        save(store, step)
    found = CheckpointStore(tmp_path).latest_good()
    assert found is not None and found.step == 15
    save(store, 16)
    assert store.steps() == [15, 16]


def test_damaged_checkpoints_do_not_count_as_kept(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep_last=2)
    for step in (1, 2):
        save(store, step)
    break_file(tmp_path / "step-000002" / "model.safetensors")
    store = CheckpointStore(tmp_path, keep_last=2)
    found = store.latest_good()
    assert found is not None and found.step == 1
    path = tmp_path / "step-000002" / "model.safetensors"
    assert found.warnings == (f"{path} is damaged: tensors 'weight' changed; continuing from step 1",)
    save(store, 3)
    assert store.steps() == [1, 2, 3]
    save(store, 2)
    assert store.steps() == [2, 3] and store.load(2).step == 2


def test_damage_to_a_manifest_is_survived_by_save(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    for step in (1, 2):
        save(store, step)
    (tmp_path / "step-000002" / "MANIFEST.json").write_text("{}")
    save(store, 3)
    found = store.latest_good()
    assert found is not None and found.step == 3 and "step-000002" in found.warnings[0]


def test_empty_and_missing_folders(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "nothing")
    assert store.latest_good() is None and store.steps() == [] and store.clean() == []
    with pytest.raises(CheckpointError, match="latest_good"):
        store.load()
    with pytest.raises(CheckpointError, match=r"no checkpoint of step 5 in .*; steps there: none"):
        store.load(5)
    save(store, 3)
    with pytest.raises(CheckpointError, match="steps there: 3"):
        store.load(5)
    with pytest.raises(CheckpointError, match="expected 'last', 'best' or a step"):
        store.load("first")  # type: ignore[arg-type]


def test_clean_removes_orphans_and_nothing_else(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    save(store, 1)
    orphan = tmp_path / "step-000002.tmp-999999999-0"
    orphan.mkdir()
    (orphan / "model.safetensors").touch()
    (tmp_path / "notes.txt").touch()
    assert store.clean() == [orphan.resolve()]
    assert store.steps() == [1] and (tmp_path / "notes.txt").exists() and not orphan.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": -1}, "step -1"),
        ({"step": 10**18}, "step 1000000000000000000"),
        ({"mode": "up"}, "'min' or 'max'"),
        ({"model": {"a": np.zeros(1, complex)}}, "'a' is of dtype complex128"),
        ({"optim": {"a": np.zeros(1, object)}}, "'a' is of dtype object"),
        ({"state": {"a": np.float32(1)}}, r"state\['a'\] is a numpy.float32"),
        ({"state": {1: 2}}, "the key 1"),
    ],
)
def test_what_cannot_be_saved_leaves_no_trace(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    store = CheckpointStore(tmp_path)
    save(store, 1)
    before = sorted(path.name for path in tmp_path.rglob("*"))
    arguments: dict[str, Any] = {"step": 2, "model": {}, "optim": {}, "state": {}} | change
    with pytest.raises(CheckpointError, match=message):
        store.save(**arguments)
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="file"):
        save(CheckpointStore(tmp_path / "file" / "checkpoints"), 1)


def test_policy_is_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 2"):
        CheckpointStore(tmp_path, keep_last=1)
    with pytest.raises(ValueError, match="negative"):
        CheckpointStore(tmp_path, keep_best=-1)


def test_numpy_metrics_are_accepted(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save(1, {}, {}, {}, metric=np.float32(0.5))  # type: ignore[arg-type]
    assert store.load("best").metric == 0.5
