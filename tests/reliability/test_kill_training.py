"""kill -9 at random times while training and saving; every run is resumed and ends as if nothing had happened."""

import multiprocessing
import random
import time

from small_runs import CONFIG, final_state, train, write_config

from torchlite.train.run_directory import find_run

OVERRIDES = ("train.steps=120", "checkpoint.every=1 steps")

# Every process is forked off one that has imported all of it and run nothing, for starting takes longer than training.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["torchlite.cli.main", "torchlite.cli.train", "torchlite.train.run"])


PROGRAM = """
import os, sys
os.chdir({folder!r})
output = os.open("output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
os.dup2(output, 1), os.dup2(output, 2)
sys.argv = ["torchlite", "train", "config.yaml", *{overrides!r}, "--resume", "auto", "--quiet"]
from torchlite.cli.main import main
main()
"""


def start(folder):
    program = PROGRAM.format(folder=str(folder), overrides=OVERRIDES)
    process = processes.Process(target=exec, args=(program, {}))
    process.start()
    return process


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
            while process.is_alive() and time.monotonic() < deadline:
                metrics = list(folder.glob("runs/small/*/metrics.jsonl"))
                if metrics and metrics[0].stat().st_size not in (0, before):
                    break
                time.sleep(0.01)
            process.join(rng.uniform(0, 0.25))
            if process.is_alive():
                process.kill()
                process.join()
                kills += 1
                in_training += bool(metrics)
                continue
        process.join()
        assert process.exitcode == 0, (folder / "output.txt").read_text()
        assert final_state(find_run(folder / "runs" / "small")) == expected
        finished += 1
    print(f"{kills} kills ({in_training} in a run that had begun), {finished} runs finished bit-identical")
    assert in_training > 0.8 * kills
