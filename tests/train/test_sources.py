"""Data of one's own: tables and texts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_runs import Quiet, final_state, rewound

from torchlite.errors import DataError, MissingDataError
from torchlite.train import run
from torchlite.train.config.load import require_config
from torchlite.train.config.schema import Config
from torchlite.train.config.validate import Options, validate
from torchlite.train.data import load_split, load_splits

TABLE = """\
age,sex,port,name,survived
20,male,C,x,died
40,female,,y,lived
,female,S,"z, the last",lived
60,male,S,w,died
"""
CSV = """\
version: 1
name: small
data:
  type: csv
  train: people.csv
  test: later.csv
  inputs:
    age: {kind: number}
    sex: {kind: category, values: [male, female]}
    port: {kind: category, values: [C, S]}
  target: {column: survived, kind: class, classes: [died, lived]}
  batch_size: 2
model: {layers: [{Linear: 4}, ReLU, {Linear: $data.num_classes}]}
optim: {type: sgd, lr: 0.1}
train: {epochs: 2}
metrics: [accuracy]
"""
TEXT = """\
version: 1
name: small
data: {type: text, files: [a.txt], context: 4, alphabet: " abc", batch_size: 2}
model: {layers: [{Embedding: 8}, {Linear: $data.vocab_size}]}
loss: sequence_cross_entropy
optim: {type: adam, lr: 0.1}
train: {epochs: 2}
checkpoint: {every: 1 steps, keep: {last: 50}}
"""

Load = Callable[..., Config]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    (tmp_path / "people.csv").write_text(TABLE)
    (tmp_path / "later.csv").write_text("age,sex,port,survived\n60,female,C,lived\n")
    (tmp_path / "a.txt").write_text("abc cab? bca acb cba a")

    def read(text: str, *overrides: str, **changes: str) -> Config:
        for old, new in changes.values():
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "main.yaml").write_text(text)
        return require_config(tmp_path / "main.yaml", overrides)

    return read


def test_a_table_as_numbers(load: Load) -> None:
    samples = load_splits(load(CSV)).train
    assert samples.targets.tolist() == [0, 1, 1, 0]
    ages = np.array([20, 40, 40, 60], np.float64)  # the median where it is missing
    np.testing.assert_allclose(samples.inputs[:, 0], (ages - ages.mean()) / ages.std(), rtol=1e-6)
    assert samples.inputs[:, 1:].tolist() == [[1, 0, 1, 0], [0, 1, 0, 0], [0, 1, 0, 1], [1, 0, 0, 1]]


def test_what_is_learnt_of_a_table_comes_from_the_rows_that_are_trained_on(load: Load) -> None:
    config = load(CSV, "data.split.val=0.25", "data.inputs.age.scale=none")
    splits = load_splits(config)
    assert splits.val is not None and (len(splits.train), len(splits.val)) == (3, 1)
    filled = {"20": 20.0, "40": 40.0, "60": 60.0}
    known = [age for age in filled.values() if age in splits.train.inputs[:, 0]]
    missing = [age for age in (*splits.train.inputs[:, 0], *splits.val.inputs[:, 0]) if age not in known]
    assert all(age == np.median(known) or age in filled.values() for age in missing)
    assert load_split(config, "test").inputs[0].tolist() == [60, 0, 1, 1, 0]
    assert np.array_equal(load_split(config, "val").inputs, splits.val.inputs)


def test_validation_rows_and_texts_of_their_own(load: Load, tmp_path: Path) -> None:
    splits = load_splits(load(CSV, "data.val=later.csv"))
    assert splits.val is not None and (len(splits.train), len(splits.val)) == (4, 1)
    assert splits.val.inputs[0, 1:].tolist() == [0, 1, 1, 0]
    (tmp_path / "b.txt").write_text("abc abc abc")
    texts = load_splits(load(TEXT, "data.val=b.txt"))
    assert texts.val is not None and (len(texts.train), len(texts.val)) == (5, 2)


def test_which_samples_are_held_out(load: Load, tmp_path: Path) -> None:
    last = load_splits(load(TEXT, "data.split={val: 0.4, by: position}"))
    assert last.val is not None
    whole = load_splits(load(TEXT)).train.inputs
    assert np.array_equal(last.val.inputs, whole[3:]) and np.array_equal(last.train.inputs, whole[:3])
    lines = [f"{i},male,C,x,{'lived' if i % 4 == 0 else 'died'}" for i in range(40)]
    (tmp_path / "people.csv").write_text("\n".join([TABLE.splitlines()[0], *lines]))
    for seed in range(4):
        held_out = load_splits(load(CSV, f"data.split={{val: 0.2, stratify: true, seed: {seed}}}")).val
        assert held_out is not None and np.bincount(held_out.targets).tolist() == [6, 2]


def test_an_evaluation_of_some_batches(load: Load, tmp_path: Path) -> None:
    lines = [f"{i},male,C,x,{'lived' if i < 20 else 'died'}" for i in range(40)]
    (tmp_path / "people.csv").write_text("\n".join([TABLE.splitlines()[0], *lines]))
    options = ["data.split={val: 0.5, by: position}", "eval.batch_size=4", "train.epochs=1"]
    rows = {}
    for batches in ("", "eval.batches=1"):
        outcome = run.train(load(CSV, *options, *filter(None, [batches])), Quiet(), root=tmp_path / "runs")
        rows[batches] = outcome.progress.latest
    assert rows[""]["train/loss"] == rows["eval.batches=1"]["train/loss"], "training is the same"
    assert rows[""]["val/loss"] != rows["eval.batches=1"]["val/loss"]


@pytest.mark.parametrize(
    ("target", "loss", "expected"),
    [
        ("{column: survived, kind: binary, classes: [died, lived]}", "bce_with_logits", [[0], [1], [1], [0]]),
        ("{column: age2, kind: number}", "mse", [[1], [2], [3], [4]]),
        ("{column: age2, kind: number, transform: log1p}", "mse", np.log1p([[1], [2], [3], [4]])),
    ],
)
def test_other_targets(load: Load, tmp_path: Path, target: str, loss: str, expected: Any) -> None:
    lines = [line + f",{i}" for i, line in enumerate(TABLE.splitlines())]
    (tmp_path / "people.csv").write_text("\n".join([lines[0][:-1] + "age2", *lines[1:]]))
    config = load(CSV, f"data.target={target}", f"loss={loss}", "unset:metrics")
    np.testing.assert_allclose(load_splits(config).train.targets, expected, rtol=1e-6)
    assert run.train(config, Quiet(), root=tmp_path / "runs").exit_code == 0
    report = validate(
        [str(tmp_path / "main.yaml")], [f"data.target={target}", f"loss={loss}", "unset:metrics"], "smoke"
    )
    assert report.diagnostics == []


def test_words_as_tokens(load: Load, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text('text,label\n"Good, good film",1\nBad film!,0\n,0\n')
    text = CSV[: CSV.index("  inputs:")] + (
        "  inputs: {text: {kind: text, vocab: 5, max_len: 4}}\n"
        '  target: {column: label, kind: class, classes: ["0", "1"]}\n  batch_size: 2\n'
        "model: {layers: [{Embedding: 3}, {Pool: mean}, {Linear: 2}]}\n" + CSV[CSV.index("optim") :]
    )
    samples = load_splits(load(text)).train
    # 2 film, 3 good: the most frequent; then by the alphabet 4 for "!"
    assert samples.inputs.tolist() == [[3, 1, 3, 2], [1, 2, 4, 0], [0, 0, 0, 0]]


def test_a_text_in_stretches(load: Load) -> None:
    samples = load_splits(load(TEXT)).train
    assert samples.inputs.tolist() == [[1, 2, 3, 0], [3, 1, 2, 0], [2, 3, 1, 0], [1, 3, 2, 0], [3, 2, 1, 0]]
    flat = samples.inputs.flatten().tolist()
    assert samples.targets.flatten().tolist() == [*flat[1:], 1]
    raw = load_splits(load(TEXT, alphabet=(' alphabet: " abc",', ""))).train
    assert bytes(raw.inputs.flatten().astype(np.uint8).tolist()) == b"abc cab? bca acb cba"


@pytest.mark.parametrize("text", [CSV, TEXT], ids=["csv", "text"])
def test_runs_on_own_data_resume_bit_for_bit(load: Load, tmp_path: Path, text: str) -> None:
    config = load(text, "checkpoint={every: 1 steps, keep: {last: 50}}")
    whole = run.train(config, Quiet(), root=tmp_path / "runs").run
    part = rewound(whole, 2, tmp_path / "elsewhere" / "part")
    run.resume(part, Quiet())
    assert final_state(part) == final_state(whole)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("age,sex\n1,male\n", "no column 'port', 'survived'; it has age, sex"),
        (TABLE + "1,male,C,x\n", "line 6: expected 5 fields"),
        (TABLE + "1,male,C,x,no,no\n", "line 6: expected 5 fields"),
        (TABLE + "1,mail,C,x,no\n", "row 5 has 'mail' in 'sex'; the configuration lists male, female"),
        (TABLE + "old,male,C,x,no\n", "row 5 has 'old' in 'age', which is no number"),
        (TABLE + "1,male,C,x,\n", "row 5 has '' in 'survived'"),
        ("", "no column"),
        (TABLE.splitlines()[0], "has no rows"),
        (b"age\xff", "cannot be read"),
    ],
)
def test_tables_that_are_something_else(load: Load, tmp_path: Path, content: Any, message: str) -> None:
    config = load(CSV)
    (tmp_path / "people.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message):
        load_splits(config)
    report = validate([str(tmp_path / "main.yaml")], (), "data")
    assert ([one.code for one in report.diagnostics], report.exit_code()) == (["TL602"], 5)


def test_files_that_are_not_there(load: Load, tmp_path: Path) -> None:
    config = load(TEXT)
    (tmp_path / "a.txt").unlink()
    with pytest.raises(MissingDataError, match=r"a\.txt"):
        load_splits(config)
    assert [one.code for one in validate([str(tmp_path / "main.yaml")], (), "data").diagnostics] == ["TL601"]
    with pytest.raises(DataError, match="no split 'test'"):
        load_split(config, "test")
    (tmp_path / "a.txt").write_text("ab")
    with pytest.raises(DataError, match="the text has 2 characters, a stretch needs 5"):
        load_splits(config)


@pytest.mark.parametrize(
    ("old", "new", "code", "hint"),
    [
        ("type: csv", "type: «cvs»", "TL303", "did you mean 'csv'?"),
        ("train: people.csv\n", "«trian»: people.csv\n", "TL201", "did you mean 'train'?"),
        ("kind: number", "kind: «numeric»", "TL206", "number"),
        ("kind: number", "«knd»: number", "TL201", "did you mean 'kind'?"),
        ("kind: number", "kind: number, vocab: «10»", "TL402", None),
        (", values: [C, S]", "", "TL204", "list them"),
        ("{kind: number}", "{kind: number, impute: «mode»}", "TL206", "one of"),
        (", classes: [died, lived]", "", "TL204", "list its values"),
        ("kind: class, classes: [died, lived]", "kind: number, classes: «[died, lived]»", "TL402", None),
        ("  target: {column: survived, ", "  target: {«colunm»: survived, ", "TL201", "did you mean 'column'?"),
        ("{kind: category, values: [C, S]}", "{kind: text}", "TL211", "only input"),
        ("$data.num_classes", "«$data.num_clases»", "TL301", "did you mean 'num_classes'?"),
    ],
)
def test_mistakes(load: Load, tmp_path: Path, old: str, new: str, code: str, hint: str | None) -> None:
    assert old in CSV
    marked = CSV.replace(old, new, 1)
    (tmp_path / "main.yaml").write_text(marked.replace("«", "").replace("»", ""))
    report = validate([str(tmp_path / "main.yaml")], (), Options("schema"))
    found = next((one for one in report.diagnostics if one.code == code), None)
    assert found is not None, [str(one) for one in report.diagnostics]
    assert hint is None or hint in (found.hint or "")
    if "«" in marked:
        before = marked.partition("«")[0]
        assert (found.line, found.col) == (before.count("\n") + 1, len(before.rpartition("\n")[2]) + 1)
