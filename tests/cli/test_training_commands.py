"""train, resume, eval, export, summary and doctor, end to end on the bundled digits."""

import json
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from small_runs import CONFIG, QUICK, write_config

from torchlite.train.run_directory import find_run


@pytest.fixture
def run(torchlite, config):
    assert torchlite("train", config, *QUICK, "--quiet").code == 0
    return "runs/small/latest"


def test_train_prints_plan_table_and_result(torchlite, config, tmp_path):
    result = torchlite("train", config, *QUICK)
    assert result.code == 0
    assert "small  seed 7  cpu" in result.out
    assert "digits  1,294 train / 143 val" in result.out
    assert "[N, 1, 8, 8] -> [N, 10]" in result.out
    header = next(line for line in result.out.splitlines() if "train/loss" in line and "epoch" in line)
    assert header.split()[:5] == ["epoch", "step", "train/loss", "val/loss", "val/accuracy"]
    folder = find_run(tmp_path / "runs" / "small").path
    assert f"RESULT run={folder.relative_to(tmp_path)}" in result.out
    names = {path.name for path in folder.iterdir()}
    assert {
        "config.yaml",
        "resolved.yaml",
        "env.json",
        "data.json",
        "metrics.jsonl",
        "status.json",
        "checkpoints",
    } <= names
    assert json.loads((folder / "status.json").read_text())["state"] == "finished"


def test_json_events(torchlite, config):
    result = torchlite("train", config, *QUICK, "--json")
    events = [json.loads(line) for line in result.out.splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds[0] == "plan"
    assert kinds[-1] == "end"
    assert kinds.count("step") == 12
    assert kinds.count("eval") == 2
    assert "checkpoint" in kinds


def test_require_decides_the_exit_code(torchlite, config):
    assert torchlite("train", config, *QUICK, "--quiet", "--require", "val/accuracy>=0").code == 0
    failed = torchlite("train", config, *QUICK, "--quiet", "--require", "val/accuracy>=1.5")
    assert failed.code == 9
    assert "required >= 1.5" in failed.err
    unknown = torchlite("train", config, *QUICK, "--quiet", "--require", "val/acuracy>=1")
    assert unknown.code == 2
    assert "did you mean 'val/accuracy'?" in unknown.err
    unreadable = torchlite("train", config, *QUICK, "--quiet", "--require", "val/accuracy")
    assert unreadable.code == 2
    assert not unknown.out and not unreadable.out  # nothing was trained before


def test_resume_goes_on_after_more_steps(torchlite, run):
    result = torchlite("resume", run, "train.steps=18", "--quiet")
    assert result.code == 0
    assert "step 18" in result.out
    rows = [json.loads(line) for line in (find_run(run).metrics).read_text().splitlines()]
    assert [row["step"] for row in rows if "lr" in row] == list(range(1, 19))


def test_train_resume_starts_where_there_is_nothing_to_resume(torchlite, config):
    assert torchlite("train", config, *QUICK, "--quiet", "--resume", "auto").code == 0


def test_resume_shows_what_changed_and_proves_that_it_repeats(torchlite, run):
    result = torchlite("resume", run, "train.steps=18", "--verify", "3", "--plain")
    assert result.code == 0
    assert "replayed steps 7-9 from step 6: 3 rows bit-identical" in result.out
    assert "changed  train.steps 12 -> 18  inexact: the cosine schedule" in result.out
    refused = torchlite("resume", run, "data.split.val=0.2")
    assert refused.code == 6
    assert "forbidden" in refused.err


def test_a_fork_goes_on_in_a_folder_of_its_own(torchlite, run):
    before = find_run(run)
    content = before.metrics.read_bytes()
    result = torchlite("resume", run, "train.steps=8", "--from", "6", "--plain")
    assert result.code == 0
    (forked,) = (find_run(path) for path in before.path.parent.iterdir() if path.name != before.path.name)
    assert before.metrics.read_bytes() == content
    assert json.loads((forked.path / "forked.json").read_text())["step"] == 6
    assert [row["step"] for row in map(json.loads, forked.metrics.read_text().splitlines()) if "lr" in row] == list(
        range(1, 9)
    )


def test_flags_stand_for_keys(torchlite, config):
    assert torchlite("train", config, "--steps", "3", "--name", "other", "--device", "cpu", "--quiet", "train.accumulate=1",
                     "eval.every=3 steps", "--on-oom", "accumulate", "schedule={type: constant}").code == 0  # fmt: skip
    resolved = find_run("runs/other").read_config()
    assert (resolved.train.steps, resolved.train.on_oom) == (3, "accumulate")


def test_eval(torchlite, run):
    result = torchlite("eval", run, "--per-class")
    assert result.code == 0
    assert "(360 samples, checkpoint of step" in result.out
    assert len([line for line in result.out.splitlines() if line.startswith("  ")]) == 1 + 10
    report = json.loads(torchlite("eval", run, "--json", "--split", "val").out)
    assert report["samples"] == 143
    assert np.sum(report["confusion"]) == 143
    hits = np.trace(report["confusion"])
    assert report["metrics"]["accuracy"] == pytest.approx(hits / 143)
    assert torchlite("eval", run, "--require", "accuracy>=1.5").code == 9


def test_eval_of_the_validation_split_repeats_what_training_reported(torchlite, run):
    rows = [json.loads(line) for line in (find_run(run).metrics).read_text().splitlines()]
    last = [row for row in rows if "val/loss" in row][-1]
    report = json.loads(torchlite("eval", run, "--json", "--split", "val", "--checkpoint", "last").out)
    assert report["metrics"]["loss"] == pytest.approx(last["val/loss"], rel=1e-12)


@pytest.mark.parametrize("format", ["safetensors", "npz", "pt"])
def test_export(torchlite, run, format, tmp_path):
    target = tmp_path / f"weights.{format}"
    result = torchlite("export", run, "--output", target)
    assert result.code == 0
    assert "read back: equal" in result.out
    assert target.stat().st_size > 1000


@pytest.mark.parametrize("arguments", [("onnx",), ("onnx", "--dynamic", "--opset", "20"), ("c", "--batch", "2")])
def test_export_of_a_program(torchlite, run, arguments, tmp_path):
    format, *flags = arguments
    if format == "onnx":
        pytest.importorskip("onnx")
    result = torchlite("export", run, "--format", format, "-o", tmp_path / f"small-1.{format}", *flags)
    assert result.code == 0, result.err
    samples = "N" if "--dynamic" in flags else flags[-1] if flags else "1"
    assert f"[{samples}, 1, 8, 8] -> [{samples}, 10]  parity on 16 batches" in result.out
    assert "argmax 100 %" in result.out
    names = ["small-1.c", "small-1.h"] if format == "c" else ["small-1.onnx"]
    assert sorted(path.name for path in tmp_path.glob("small-1.*")) == names
    if format == "c":
        assert "int small_1_predict(const float *in, float *out)" in (tmp_path / "small-1.h").read_text()


def test_export_of_other_numbers_exits_10_and_writes_nothing(torchlite, run, tmp_path, monkeypatch):
    monkeypatch.setattr("torchlite.train.exporting._TOLERANCE", -1.0)
    result = torchlite("export", run, "--format", "c", "-o", tmp_path / "model.c")
    assert result.code == 10
    assert "computes other results" in result.err
    assert not list(tmp_path.glob("model.*")) and not list(tmp_path.glob(".export*"))


def test_flags_of_another_format_are_refused(torchlite, run):
    assert torchlite("export", run, "--format", "c", "--dynamic").code == 2
    assert torchlite("export", run, "--format", "onnx", "--dynamic", "--batch", "4").code == 2
    assert torchlite("export", run, "--format", "c", "--model", "G").code == 2


def test_formats_of_a_configuration_are_written_in_the_end(torchlite, tmp_path):
    assert torchlite("train", write_config(tmp_path), *QUICK, "export=npz,c", "--quiet").code == 0
    written = (find_run("runs/small/latest").path / "exports").iterdir()
    assert sorted(path.name for path in written) == [
        "model.c",
        "model.h",
        "model.npz",
    ]


def test_export_of_an_unknown_format(torchlite, run):
    result = torchlite("export", run, "--output", "model.h5")
    assert result.code == 2
    assert "--format" in result.err


def test_summary_shows_what_is_inside_structures(torchlite, config):
    text = config.read_text()
    start, end = text.index("    - Conv2d"), text.index("optim:")
    layers = """\
    - Flatten: [1, 2]
    - residual: {name: mixed, shortcut: auto, layers: [{Linear: 4}]}
    - branches: {dim: 2, paths: [[{Linear: 3}], []]}
    - GRU: {hidden_size: 5, output: last}
    - Linear: 10
"""
    config.write_text(text[:start] + layers + text[end:])
    lines = torchlite("summary", config).out.splitlines()[1:-1]
    assert [re.sub(r"(?<=\S) {2,}", " | ", line) for line in lines] == [
        "Flatten | [N, 8, 8]",
        "residual (mixed) | [N, 8, 4] | 68",
        "  Linear | [N, 8, 4] | 36",
        "  shortcut:",
        "    Linear | [N, 8, 4] | 32",
        "branches | [N, 8, 7] | 15",
        "  paths.0:",
        "    Linear | [N, 8, 3] | 15",
        "GRU | [N, 5] | 210",
        "Linear | [N, 10] | 60",
    ]


def test_summary_of_a_config_and_of_a_run(torchlite, config, run):
    text = torchlite("summary", config).out
    assert text.splitlines()[0].split()[:2] == ["input", "[N,"]
    assert "Conv2d" in text
    assert "params" in text
    assert torchlite("summary", run).out.splitlines()[:3] == text.splitlines()[:3]


def test_summary_shows_levels_operations_memory_and_pictures(torchlite, config, tmp_path):
    table = torchlite("summary", config, "--flops", "--memory", "--depth", "1").out.splitlines()
    assert table[0].split() == ["output", "params", "flops", "params", "memory", "kept"]
    assert table[2].startswith("Conv2d") and "4,608" in table[2] and "160 B" in table[2]
    assert torchlite("summary", config, "--graph", "mermaid").out.startswith("flowchart TD")
    assert torchlite("summary", config, "--graph", "svg", "-o", "model.svg").code == 0
    assert (tmp_path / "model.svg").read_text().startswith("<svg")


def test_doctor(torchlite):
    report = json.loads(torchlite("doctor", "--json").out)
    assert report["numpy"] == np.__version__
    assert report["cpus"] >= 1
    assert {"onnx", "optuna", "images", "mlflow"} <= report["extras"].keys()
    assert "numpy" in torchlite("doctor").out


def test_dry_run_and_smoke_write_nothing(torchlite, config, tmp_path):
    assert "plan" in torchlite("train", config, "--dry-run").out
    assert "works" in torchlite("train", config, "--smoke").out
    assert not (tmp_path / "runs").exists()


def test_mistakes_in_the_config_exit_3_before_anything_is_made(torchlite, tmp_path):
    result = torchlite("train", write_config(tmp_path, CONFIG.replace("dropout", "x").replace("optim:", "optmi:")))
    assert result.code == 3
    assert "config.yaml:" in result.err
    assert "did you mean 'optim'" in result.err
    assert not (tmp_path / "runs").exists()


def test_a_loss_that_explodes_exits_8_and_keeps_checkpoints(torchlite, config):
    result = torchlite(
        "train", config, *QUICK, "--quiet", "optim.lr=1e30", "train.clip=null", "checkpoint.every=1 steps"
    )
    assert result.code == 8
    assert "the loss became" in result.err
    status = find_run("runs/small").status()
    assert status["state"] == "failed"
    assert status["exit_code"] == 8


def test_no_such_run(torchlite):
    for command in ("resume", "eval", "export"):
        result = torchlite(command, "runs/none")
        assert result.code == 2
        assert "there is no run at runs/none" in result.err


def test_two_processes_do_not_train_in_one_folder(torchlite, run):
    with find_run(run).locked():
        result = torchlite("resume", run, "train.steps=14")
    assert result.code == 2
    assert "in use" in result.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_signals_save_and_say_how_to_go_on(config, tmp_path, number, code):
    command = [sys.executable, "-c", "from torchlite.cli.main import main; main()"]
    command += ["train", str(config), "train.steps=100000", "checkpoint.every=100000 steps", "--quiet"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not any(
            path.stat().st_size for path in tmp_path.glob("runs/small/*/metrics.jsonl")
        ):
            time.sleep(0.02)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "continue: torchlite resume" in err
    directory = find_run(tmp_path / "runs" / "small")
    assert directory.status()["state"] == "interrupted"
    assert directory.store().latest_good() is not None


NET = """\
from torchlite import nn


class Net(nn.Module):
    def __init__(self, hidden: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.Tanh(), nn.Linear(hidden, 10))

    def forward(self, x):
        return self.layers(x)
"""


def test_a_model_of_the_user_s_own(torchlite, tmp_path):
    (tmp_path / "nets.py").write_text(NET)
    head, _, tail = CONFIG.partition("model:\n")
    model = "code: [nets.py]\nmodel: {type: 'nets:Net', hidden: 12}\noptim:" + tail.partition("optim:")[2]
    config = write_config(tmp_path, head + model)
    assert torchlite("train", config, *QUICK, "--quiet").code == 0
    assert (find_run("runs/small").path / "code" / "nets.py").read_text() == NET
    (tmp_path / "nets.py").unlink()  # the run has a copy
    for command in ("eval", "export", "summary", "resume"):
        refused = torchlite(command, "runs/small")
        assert refused.code == 2
        assert "--allow-code" in refused.err
        assert torchlite(command, "runs/small", "--allow-code").code == 0
