"""kill -9 at random times while training and saving; every run is resumed and ends as if nothing had happened."""

import random
import subprocess
import sys
import time

from small_runs import CONFIG, final_state, train, write_config

from torchlite.train.run_directory import find_run

OVERRIDES = ("train.steps=120", "checkpoint.every=1 steps")
PROGRAM = "from torchlite.cli.main import main; main()"


def start(folder):
    command = [sys.executable, "-c", PROGRAM, "train", "config.yaml", *OVERRIDES, "--resume", "auto", "--quiet"]
    with (folder / "output.txt").open("w") as output:
        return subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT)


def test_killed_runs_end_bit_identical(tmp_path, rounds):
    (tmp_path / "whole").mkdir()
    expected = final_state(train(tmp_path / "whole", *OVERRIDES))
    rng = random.Random(0)
    kills = finished = in_training = 0
    wanted = rounds(50)
    while kills < wanted or finished == 0:
        folder = tmp_path / f"run{finished}"
        folder.mkdir(exist_ok=True)
        write_config(folder, CONFIG)
        process = start(folder)
        metrics = list(folder.glob("runs/small/*/metrics.jsonl"))
        before = metrics[0].stat().st_size if metrics else 0
        if kills < wanted:
            # Most of the start-up is waited for, so that nearly all kills hit training and saving.
            deadline = time.monotonic() + 20
            while process.poll() is None and time.monotonic() < deadline:
                metrics = list(folder.glob("runs/small/*/metrics.jsonl"))
                if metrics and metrics[0].stat().st_size not in (0, before):
                    break
                time.sleep(0.01)
            try:
                process.wait(rng.uniform(0, 0.25))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                kills += 1
                in_training += bool(metrics)
                continue
        assert process.wait() == 0, (folder / "output.txt").read_text()
        assert final_state(find_run(folder / "runs" / "small")) == expected
        finished += 1
    print(f"{kills} kills ({in_training} in a run that had begun), {finished} runs finished bit-identical")
    assert in_training > 0.8 * kills
