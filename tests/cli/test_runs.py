"""runs, data, list, find, profile and bench."""

import json

import pytest
from small_runs import QUICK

from torchlite.train.run_directory import find_run


@pytest.fixture
def two(torchlite, config):
    for name, lr in (("a", "0.05"), ("b", "0.001")):
        assert torchlite("train", config, *QUICK, "--quiet", "--name", name, f"optim.lr={lr}").code == 0
    return ["runs/a/latest", "runs/b/latest"]


def test_listing_sorts_and_chooses(torchlite, two):
    rows = json.loads(torchlite("runs", "ls", "--json", "--sort", "-val/accuracy").out)
    accuracies = [row["metrics"]["val/accuracy"] for row in rows]
    assert accuracies == sorted(accuracies, reverse=True)
    assert {row["state"] for row in rows} == {"finished"}
    bound = sum(accuracies) / 2
    assert len(json.loads(torchlite("runs", "ls", "--json", "--where", f"val/accuracy>={bound}").out)) == 1
    text = torchlite("runs", "ls").out
    assert text.splitlines()[0].split() == ["run", "state", "step", "train/loss", "val/loss", "val/accuracy"]
    assert torchlite("runs", "ls", "--where", "nonsense").code == 2
    unknown = torchlite("runs", "ls", "--sort", "-val/acuracy")
    assert unknown.code == 2
    assert "did you mean 'val/accuracy'?" in unknown.err


def test_a_run_whose_process_is_gone_has_died(torchlite, two):
    found = find_run(two[0])
    found.write_status("running", 12)
    assert "died" in torchlite("runs", "show", two[0]).out
    with found.locked():
        assert "running" in torchlite("runs", "show", two[0]).out


def test_comparing_shows_what_differs(torchlite, two):
    found = json.loads(torchlite("runs", "compare", *two, "--json").out)
    assert found["config"] == {"name": ["a", "b"], "optim.lr": [0.05, 0.001]}
    assert torchlite("runs", "compare", two[0]).code == 2


def test_a_page_of_a_comparison(torchlite, two, tmp_path):
    text = torchlite("runs", "compare", *two, "--html", str(tmp_path / "both.html")).out
    page = (tmp_path / "both.html").read_text()
    assert "optim.lr" in text
    for part in ("<td>optim.lr</td>", "val/accuracy", "<polyline", *two_names(two)):
        assert part in page
    assert "http:" not in page and "https:" not in page


def two_names(runs):
    return [find_run(run).path.name for run in runs]


def test_repeating_a_run_says_whether_it_is_the_same(torchlite, two):
    found = json.loads(torchlite("runs", "repro", two[0], "--steps", "3", "--json").out)
    assert (found["identical"], found["rows"]) == (True, 3)
    assert "bit for bit" in torchlite("runs", "repro", two[0], "--quiet").out
    directory = find_run(two[0])
    rows = directory.metrics.read_text().replace('"loss": 2', '"loss": 3', 1)
    directory.metrics.write_text(rows)
    environment = json.loads((directory.path / "env.json").read_text())
    (directory.path / "env.json").write_text(json.dumps({**environment, "python": "2.7.18"}))
    checked = torchlite("runs", "repro", two[0], "--check")
    assert (checked.code, checked.out.split()[:3]) == (13, ["differs", "python", "2.7.18"])
    result = torchlite("runs", "repro", two[0], "--quiet")
    assert result.code == 13
    assert "different from step 1 on: loss was 3" in result.out


def test_plots(torchlite, two):
    lines = torchlite("runs", "plot", *two, "--width", "60", "--height", "5").out.splitlines()
    assert len(lines) == 1 + 5 + 2 + 2
    assert max(map(len, lines)) <= 60
    unknown = torchlite("runs", "plot", two[0], "--metric", "val/acc")
    assert unknown.code == 2
    assert "val/accuracy" in unknown.err


def test_gc_lists_and_deletes_only_when_told(torchlite, two, config):
    assert torchlite("train", config, *QUICK, "--quiet", "--name", "a").code == 0
    (find_run("runs/b").path / "checkpoints").rename("kept-elsewhere")
    listed = torchlite("runs", "gc", "--keep", "1").out
    assert listed.count("would delete") == 2
    assert len(json.loads(torchlite("runs", "ls", "--json").out)) == 3
    torchlite("runs", "gc", "--keep", "1", "--yes")
    assert [row["name"].split("/")[0] for row in json.loads(torchlite("runs", "ls", "--json").out)] == ["a"]


def test_data(torchlite, config):
    rows = {row["name"]: row for row in json.loads(torchlite("data", "ls", "--json").out)}
    assert rows["digits"]["here"]
    report = json.loads(torchlite("data", "inspect", "digits", "--split", "test", "--json").out)
    assert report["samples"] == 360
    assert sum(report["classes"].values()) == 360
    assert json.loads(torchlite("data", "inspect", config, "--json").out)["samples"] == 1294
    assert torchlite("data", "verify", "digits").out.count("checksums ok") == 2
    assert torchlite("data", "inspect", "digitz").code == 5


def test_list(torchlite):
    found = json.loads(torchlite("list", "--json").out)
    assert "Conv2d" in found["layers"]
    assert "cosine" in found["schedules"]
    assert {"digits", "csv"} <= set(found["datasets"])
    assert all(summary for names in found.values() for summary in names.values())
    assert torchlite("list", "loss").out.startswith("losses\n")
    assert torchlite("list", "nonsense").code == 2


def test_find_lr_writes_where_the_old_one_stands(torchlite, config):
    before = config.read_text()
    found = json.loads(torchlite("find", "lr", config, "--write", "--json", "--steps", "40", "--from", "1e-4").out)
    assert 1e-4 < found["lr"] < 1
    assert config.read_text() == before.replace("lr: 0.05", f"lr: {found['lr']:g}")
    child = config.parent / "child.yaml"
    child.write_text("extends: config.yaml\n")
    refused = torchlite("find", "lr", child, "--write", "--steps", "40", "--from", "1e-4")
    assert refused.code == 2
    assert "stands in" in refused.err


def test_find_batch_ends_where_memory_does(torchlite, config, monkeypatch):
    from torchlite.train.updating import Update

    whole = Update._loss

    def limited(self, inputs, targets):
        if len(targets) > 40:
            raise MemoryError("no room")
        return whole(self, inputs, targets)

    monkeypatch.setattr(Update, "_loss", limited)
    found = json.loads(torchlite("find", "batch", config, "--seconds", "0.01", "--json").out)
    assert [trial["size"] for trial in found["trials"]] == [8, 16, 32, 64]
    assert found["trials"][-1]["failed"].startswith("out of memory")
    assert found["batch_size"] <= 32


def test_profile_and_bench(torchlite, config, tmp_path):
    found = json.loads(torchlite("profile", config, "--steps", "2", "--json", "--trace", "trace.json").out)
    assert [layer[1] for layer in found["layers"]] == ["Conv2d", "BatchNorm2d", "ReLU", "Flatten", "Dropout", "Linear"]
    assert any(name == "convolution" for name, _, _ in found["operators"])
    assert json.loads((tmp_path / "trace.json").read_text())
    speed = json.loads(torchlite("bench", config, "--steps", "3", "--json").out)[str(config)]
    assert speed["samples"] == 3 * 3 * 16
    assert "times as long a step" in torchlite("bench", config, "--steps", "2", "--against", config).out


def test_a_page_that_cannot_be_written_is_named(torchlite, two, tmp_path):
    (tmp_path / "file").write_text("")
    result = torchlite("runs", "compare", *two, "--html", str(tmp_path / "file" / "both.html"))
    assert result.code == 2 and "cannot write" in result.err
