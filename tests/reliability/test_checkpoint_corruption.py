"""Flipped bits, truncations and extensions of every file of a checkpoint: all are detected, all fall back."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from torchlite.errors import CheckpointError
from torchlite.train.checkpoint import CheckpointStore

FILES = ("model.safetensors", "optim.safetensors", "state.json", "MANIFEST.json")


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    store = CheckpointStore(tmp_path / "checkpoints")
    rng = np.random.default_rng(0)
    for step in (10, 20):
        model = {"weight": rng.standard_normal((4, 5)), "flag": np.array([True, False])}
        state = {"epoch": step // 10, "betas": (0.9, 0.999), "best": float("inf")}
        store.save(step, model, {"exp_avg": rng.standard_normal(20)}, state, metric=1.0 / step)
    return store


def damages(content: bytes, rng: random.Random, count: int) -> list[bytes]:
    damaged = []
    for _ in range(count):
        flipped = bytearray(content)
        flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        damaged.append(bytes(flipped))
    damaged += [content[: rng.randrange(len(content))] for _ in range(max(3, count // 10))]
    damaged += [
        content + rng.randbytes(rng.randint(1, 9)),
        content + b"\0",
        content + b"\n",
        content + b" ",
        b"",
    ]
    return damaged


@pytest.mark.parametrize("name", FILES)
def test_damage_is_detected_and_falls_back(name: str, store: CheckpointStore, rounds: Callable[[int], int]) -> None:
    path = store.folder / "step-000020" / name
    content = path.read_bytes()
    candidates = damages(content, random.Random(name), rounds(200))
    for candidate in candidates:
        path.write_bytes(candidate)
        with pytest.raises(CheckpointError, match="step-000020"):
            store.load("last")
        found = store.latest_good()
        assert found is not None and found.step == 10
        assert len(found.warnings) == 1 and "step-000020" in found.warnings[0]
    path.write_bytes(content)
    assert store.load("last").step == 20
    print(f"\n{name}: {len(candidates)} damages, {len(candidates)} detected, {len(candidates)} fell back")


@pytest.mark.parametrize("name", FILES)
def test_missing_file_is_detected(name: str, store: CheckpointStore) -> None:
    (store.folder / "step-000020" / name).unlink()
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        store.load(20)
    found = store.latest_good()
    assert found is not None and found.step == 10


@pytest.mark.parametrize("which", ["last", "best"])
def test_damaged_pointer_is_detected(which: str, store: CheckpointStore, rounds: Callable[[int], int]) -> None:
    path = store.folder / f"{which}.json"
    content = path.read_bytes()
    candidates = damages(content, random.Random(which), rounds(200))
    for candidate in candidates:
        path.write_bytes(candidate)
        with pytest.raises(CheckpointError, match=f"{which}.json"):
            store.load(which)  # type: ignore[arg-type]
        found = store.latest_good()
        assert found is not None and found.step == 20 and found.warnings == ()
    print(f"\n{which}.json: {len(candidates)} damages, {len(candidates)} detected")


def test_every_byte_of_a_small_manifest_counts(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    folder = store.save(1, {}, {}, {})
    path = folder / "MANIFEST.json"
    content = path.read_bytes()
    for position in range(len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 1 << position % 8
        path.write_bytes(flipped)
        with pytest.raises(CheckpointError):
            store.load(1)


def test_swapped_files_of_two_checkpoints_are_detected(store: CheckpointStore) -> None:
    old, new = store.folder / "step-000010", store.folder / "step-000020"
    shutil.copy(old / "model.safetensors", new / "model.safetensors")
    with pytest.raises(CheckpointError, match="weight"):
        store.load(20)
    shutil.copytree(old, store.folder / "step-000030")
    with pytest.raises(CheckpointError, match="another step"):
        store.load(30)


def test_all_damaged_is_an_error_that_lists_them(store: CheckpointStore) -> None:
    for step in (10, 20):
        (store.folder / f"step-{step:06d}" / "state.json").write_bytes(b"{}")
    with pytest.raises(CheckpointError, match=r"(?s)step-000020.*step-000010"):
        store.latest_good()
