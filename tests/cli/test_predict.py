"""predict: splits, arrays, lines of JSON and tables, written as CSV, JSON and NPZ."""

import csv
import io
import json

import numpy as np
import pytest
from small_runs import QUICK, TEXT, write_config

from torchlite import datasets
from torchlite.vision.png import encode_png


@pytest.fixture
def run(torchlite, tmp_path):
    assert torchlite("train", write_config(tmp_path), *QUICK, "--quiet").code == 0
    return "runs/small/latest"


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_a_split_agrees_with_eval(torchlite, run):
    rows = rows_of(torchlite("predict", run, "test", "--proba").out)
    _, labels = datasets.load("digits", "test")
    hits = np.mean([int(row["prediction"]) == label for row, label in zip(rows, labels, strict=True)])
    report = json.loads(torchlite("eval", run, "--json").out)
    assert hits == pytest.approx(report["metrics"]["accuracy"])
    assert sum(float(rows[0][f"p({name})"]) for name in range(10)) == pytest.approx(1, abs=1e-4)


def test_files_and_standard_input_say_the_same(torchlite, run, tmp_path, monkeypatch):
    images, _ = datasets.load("digits", "test")
    np.save(tmp_path / "a.npy", images)
    np.savez(tmp_path / "b.npz", inputs=images, other=images[:3])
    whole = torchlite("predict", run, "test").out
    assert torchlite("predict", run, "a.npy").out == whole
    assert torchlite("predict", run, "b.npz").out == whole
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(json.dumps(one.tolist()) for one in images[:5])))
    assert rows_of(torchlite("predict", run, "-").out) == rows_of(whole)[:5]


def test_json_lines_and_npz(torchlite, run, tmp_path):
    records = [
        json.loads(line)
        for line in torchlite("predict", run, "test", "--format", "jsonl", "--topk", "3").out.splitlines()
    ]
    assert [record["index"] for record in records] == list(range(360))
    assert records[0]["top"][0][0] == records[0]["prediction"]
    assert len(records[0]["top"]) == 3
    assert torchlite("predict", run, "test", "--format", "npz", "-o", "out.npz").code == 0
    saved = np.load(tmp_path / "out.npz")
    assert saved["outputs"].shape == (360, 10)
    assert [str(i) for i in saved["prediction"]] == [record["prediction"] for record in records]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((2, 8, 8), np.uint8), "samples of shape"),
        (np.full((2, 1, 8, 8), 0.5), "not uint8"),
    ],
)  # fmt: skip
def test_arrays_of_another_kind(torchlite, run, tmp_path, content, message):
    np.save(tmp_path / "bad.npy", content)
    result = torchlite("predict", run, "bad.npy")
    assert result.code == 5
    assert message in result.err


def test_what_is_not_there(torchlite, run):
    result = torchlite("predict", run, "none.csv")
    assert result.code == 2
    assert "nor a split of that name" in result.err
    assert torchlite("predict", run, "test", "--format", "npz").code == 2


def test_a_table_from_init_to_predictions(torchlite, tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        f"{i},{x:.3f},{'red' if x > 0 else 'blue'},{'yes' if x > 0 else 'no'}"
        for i, x in enumerate(rng.standard_normal(120))
    ]
    (tmp_path / "table.csv").write_text("id,x,colour,answer\n" + "\n".join(rows) + "\n")
    made = torchlite("init", "--from-data", "table.csv")
    assert made.code == 0
    assert "'id' left out: it numbers the rows" in made.err
    assert torchlite("train", "table.yaml", "optim.lr=0.01", "--quiet").code == 0
    (tmp_path / "new.csv").write_text("colour,x\nred,1.5\nblue,-1.5\n")
    found = rows_of(torchlite("predict", "runs/table/latest", "new.csv").out)
    assert [row["prediction"] for row in found] == ["yes", "no"]
    again = torchlite("init", "--from-data", "table.csv", "--target", "x")
    assert again.code == 2
    assert "already there" in again.err


def test_images_and_folders(torchlite, run, tmp_path):
    images, _ = datasets.load("digits", "test")
    (tmp_path / "some").mkdir()
    for i in range(3):
        shades = (images[i].astype(int) * 255 // 16).astype(np.uint8)
        (tmp_path / "some" / f"{i}.png").write_bytes(encode_png(np.ascontiguousarray(shades.transpose(1, 2, 0))))
    whole = rows_of(torchlite("predict", run, "test", "--proba").out)
    rows = rows_of(torchlite("predict", run, "some", "--proba").out)
    assert [row["file"] for row in rows] == ["some/0.png", "some/1.png", "some/2.png"]
    for row, expected in zip(rows, whole, strict=False):  # 16 shades of grey survive; the rounding of 255 / 16 need not
        assert float(row["p(0)"]) == pytest.approx(float(expected["p(0)"]), abs=0.05)
    assert rows_of(torchlite("predict", run, "some/1.png", "--proba").out)[0]["p(3)"] == rows[1]["p(3)"]
    (tmp_path / "none").mkdir()
    assert torchlite("predict", run, "none").code == 5


@pytest.fixture
def writer(torchlite, tmp_path):
    (tmp_path / "text.txt").write_text("abc " * 200)
    (tmp_path / "text.yaml").write_text(TEXT)
    assert torchlite("train", "text.yaml", "--quiet").code == 0
    return "runs/text/latest"


def test_a_model_of_text_writes_on(torchlite, writer, tmp_path, monkeypatch):
    greedy = ("--temperature", "0", "--max-new-tokens", "7")
    assert torchlite("predict", writer, "--prompt", "ab", *greedy).out == "abc abc a\n"
    record = json.loads(torchlite("predict", writer, "--prompt", "ab", *greedy, "--format", "jsonl").out)
    assert record == {"index": 0, "prompt": "ab", "text": "c abc a"}
    monkeypatch.setattr("sys.stdin", io.StringIO("a\nbc\n"))
    assert torchlite("predict", writer, "-", *greedy).out == "abc abc \nbc abc ab\n"
    (tmp_path / "prompts.txt").write_text("c\n")
    rows = rows_of(torchlite("predict", writer, "prompts.txt", *greedy, "--format", "csv").out)
    assert rows == [{"index": "0", "prompt": "c", "text": " abc ab"}]


def test_equal_seeds_write_the_same(torchlite, writer):
    def written(*more):
        return torchlite("predict", writer, "--prompt", "a", "--temperature", "9", *more).out

    assert written() == written() == written("--top-k", "5") == written("--top-p", "1")
    assert written() != written("--seed", "1")
    assert torchlite("predict", writer, "--prompt", "a", "--top-k", "1").out.startswith("abc abc")


def test_what_text_can_t_be(torchlite, writer, run):
    result = torchlite("predict", writer, "--prompt", "abz")
    assert result.code == 2
    assert "characters that the model does not know: 'z'" in result.err
    assert torchlite("predict", run, "--prompt", "a").code == 2
    assert torchlite("predict", run).code == 2
    assert torchlite("predict", writer, "no such file").code == 2
