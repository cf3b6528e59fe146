"""``kill -9`` of a process that saves in a loop, at random times: no committed step is ever lost."""

import json
import os
import random
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from torchlite.train.checkpoint import CheckpointStore

SAVER = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
import numpy as np
from torchlite.train.checkpoint import CheckpointStore

store = CheckpointStore(sys.argv[2])
store.clean()
found = store.latest_good()
step = found.step if found else 0
while True:
    step += 1
    value = np.full(20_000, step, np.float32)
    store.save(step, {"weight": value}, {"exp_avg": value}, {"step": step}, metric=float(step % 5))
    print(step, flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_kill_at_random_times(tmp_path: Path, rounds: Callable[[int], int]) -> None:
    rng = random.Random(0)
    folder = tmp_path / "checkpoints"
    command = [sys.executable, "-c", SAVER, json.dumps(sys.path), str(folder)]
    kills, orphans, newest = rounds(15), 0, 0
    for _ in range(kills):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            committed = int(process.stdout.readline() or 0)
            assert committed > newest, "the process could not continue from where the last one was killed"
            wait_s = rng.uniform(0, 0.06)
            reported = b""
            while select.select([process.stdout], [], [], wait_s)[0]:
                reported += os.read(process.stdout.fileno(), 1 << 16)
                wait_s = rng.uniform(0, 0.004) if rng.random() < 0.7 else 0
            process.kill()
            reported += process.stdout.read()
        committed = int(reported.split(b"\n")[-2]) if b"\n" in reported else committed
        store = CheckpointStore(folder)
        orphans += sum(".tmp-" in path.name or ".replaced-" in path.name for path in folder.iterdir())
        store.clean()
        names = {path.name for path in folder.iterdir()}
        assert names <= {"last.json", "best.json", *(f"step-{step:06d}" for step in store.steps())}
        found = store.latest_good()
        assert found is not None and found.warnings == ()
        assert committed <= found.step <= committed + 1
        np.testing.assert_array_equal(found.model["weight"], np.full(20_000, found.step, np.float32))
        assert found.state == {"step": found.step}
        assert store.load("last").step in (found.step, found.step - 1)
        store.load("best")
        newest = found.step
    print(f"\n{kills} kills, {newest} saves: 0 unreadable, 0 committed steps lost, {orphans} orphans, 0 after clean()")
