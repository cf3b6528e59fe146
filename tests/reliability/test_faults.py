"""Every system call of a save fails in turn, or is the last that a process makes: no commit is lost."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from torchlite.errors import CheckpointError
from torchlite.serialization import atomic
from torchlite.serialization.pt import read_pt, write_pt
from torchlite.train.checkpoint import CheckpointStore

CALLS = ("open", "write", "fsync", "rename", "replace", "mkdir", "close")


class Faults:
    """Counts the calls of `atomic` into ``os`` and makes the ``k``-th fail."""

    def __init__(self, k: int, code: int, *, partial: bool = False) -> None:
        self.k, self.code, self.partial = k, code, partial
        self.count = 0
        self.failed = ""

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in CALLS:
            return real

        def call(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            if self.count == self.k:
                self.failed = name
                if name == "write" and self.partial and len(args[1]) > 1:
                    self.k += 1  # the disk fills in the middle: half is written, the next call fails
                    return real(args[0], args[1][: len(args[1]) // 2])
                if name == "close":
                    real(*args)
                raise OSError(self.code, os.strerror(self.code))
            return real(*args, **kwargs)

        return call


@contextmanager
def faults(monkeypatch: pytest.MonkeyPatch, k: int, code: int, **options: bool) -> Iterator[Faults]:
    injected = Faults(k, code, **options)
    with monkeypatch.context() as patch:
        patch.setattr(atomic, "os", injected)
        yield injected


def content(step: int) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    rng = np.random.default_rng(step)
    return (
        {"w": rng.standard_normal(50), "b": rng.standard_normal(3)},
        {"m": rng.standard_normal(53)},
        {"step": step},
    )


def check(store: CheckpointStore, steps: set[int]) -> None:
    """The newest checkpoint is intact, is of one of ``steps`` and holds what was saved."""
    found = store.latest_good()
    assert found is not None and found.step in steps and found.warnings == ()
    model, optim, state = content(found.step)
    for name, array in model.items():
        np.testing.assert_array_equal(found.model[name], array)
    np.testing.assert_array_equal(found.optim["m"], optim["m"])
    assert found.state == state


def assert_tidy(store: CheckpointStore) -> None:
    left = {path.name for path in store.folder.iterdir()}
    assert all(name in ("last.json", "best.json") or name.removeprefix("step-").isdigit() for name in left), left


@pytest.mark.parametrize(
    ("code", "partial"), [(errno.EIO, False), (errno.ENOSPC, True)], ids=["EIO", "ENOSPC after half a write"]
)
@pytest.mark.parametrize("same_step", [False, True], ids=["new step", "same step"])
def test_every_call_of_a_save_fails_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, same_step: bool, partial: bool
) -> None:
    failed: list[str] = []
    for step in (1, 2, 3):
        CheckpointStore(tmp_path / "three").save(step, *content(step), metric=float(step))
    for k in range(1, 1000):
        store = CheckpointStore(shutil.copytree(tmp_path / "three", tmp_path / str(k)))
        new = 3 if same_step else 4
        with faults(monkeypatch, k, code, partial=partial) as injected:
            try:
                store.save(new, *content(new), metric=9.0)
            except CheckpointError as error:
                assert os.strerror(code) in str(error) and str(store.folder) in str(error)
        if not injected.failed:
            break
        failed.append(injected.failed)
        check(store, {3, new})
        for step in store.steps():
            store.load(step)
        store.clean()
        assert_tidy(store)
        check(store, {3, new})
        store.save(5, *content(5))
        check(store, {5})
    print(f"\n{len(failed)} points of failure, previous checkpoint intact at every one")
    assert set(failed) == set(CALLS)


def test_every_call_of_a_single_file_fails_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.pt"
    points = 0
    for k in range(1, 100):
        write_pt(path, {"a": np.zeros(4)})
        with faults(monkeypatch, k, errno.ENOSPC) as injected:
            try:
                write_pt(path, {"a": np.ones(4)})
            except OSError as error:
                assert error.errno == errno.ENOSPC and error.filename == str(path)
        if not injected.failed:
            break
        points += 1
        value = read_pt(path)["a"].sum()
        # Only the calls after the rename may leave the new content behind together with an error.
        assert value == 0 or (value == 4 and injected.failed in ("open", "fsync", "close"))
        assert [entry.name for entry in tmp_path.iterdir()] == ["model.pt"]
    print(f"\n{points} points of failure, file intact at every one")
    assert points >= 7


KILLED = """
import json, os, shutil, signal, sys, tempfile
sys.path[:0] = json.loads(sys.argv[1])
import numpy as np
from torchlite.serialization import atomic
from torchlite.train.checkpoint import CheckpointStore

CALLS = json.loads(sys.argv[2])

class Killer:
    def __init__(self, k, after):
        self.k, self.after, self.count = k, after, 0

    def __getattr__(self, name):
        real = getattr(os, name)
        if name not in CALLS:
            return real

        def call(*args):
            self.count += 1
            if self.count == self.k and not self.after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = real(*args)
            if self.count == self.k:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

def content(step):
    rng = np.random.default_rng(step)
    return {"w": rng.standard_normal(50)}, {"m": rng.standard_normal(53)}, {"step": step}

points = lost = unreadable = orphans = 0
three = tempfile.mkdtemp()
for step in (1, 2, 3):
    CheckpointStore(three).save(step, *content(step))
for new in (4, 3):
    for after in (False, True):
        for k in range(1, 1000):
            with tempfile.TemporaryDirectory() as folder:
                store = CheckpointStore(shutil.copytree(three, folder, dirs_exist_ok=True))
                child = os.fork()
                if child == 0:
                    atomic.os = Killer(k, after)
                    store.save(new, *content(new))
                    os._exit(0)
                _, status = os.waitpid(child, 0)
                if not os.WIFSIGNALED(status):
                    break
                points += 1
                store = CheckpointStore(folder)
                store.clean()
                found = store.latest_good()
                if found.step not in (3, new):
                    lost += 1
                if found.warnings or not np.array_equal(found.model["w"], content(found.step)[0]["w"]):
                    unreadable += 1
                orphans += sum(".tmp-" in name or ".replaced-" in name for name in os.listdir(folder))
shutil.rmtree(three)
print(json.dumps([points, lost, unreadable, orphans]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_sigkill_at_every_call_of_a_save() -> None:
    arguments = [sys.executable, "-W", "ignore", "-c", KILLED, json.dumps(sys.path), json.dumps(CALLS)]
    result = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=300)
    points, lost, unreadable, orphans = json.loads(result.stdout)
    print(f"\nSIGKILL at {points} points: {lost} lost, {unreadable} unreadable, {orphans} orphans after clean()")
    assert points > 80
    assert (lost, unreadable, orphans) == (0, 0, 0)
