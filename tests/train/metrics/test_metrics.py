"""Metrics: values worked out by hand, misuse, states, and how a configuration names them."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import small_runs

from torchlite import from_numpy, tensor
from torchlite.train.config.load import load_config
from torchlite.train.evaluation import numbers
from torchlite.train.metrics import F1, Accuracy, ConfusionMatrix, MeanAveragePrecision, RocAuc, TopK
from torchlite.train.registry import registry

LOGITS = tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [1.0, 0.0, 2.0], [5.0, 0.0, 0.0]])
TARGETS = tensor([0, 1, 0, 2])


def test_values_by_hand() -> None:
    expected = {"accuracy": 0.5, "f1": (0.5 + 1.0 + 0.0) / 3, "iou": (1 / 3 + 1.0 + 0.0) / 3}
    for name, value in expected.items():
        found = registry.find("metric", name)
        assert found is not None
        metric = found()
        metric.update(LOGITS, TARGETS)
        assert metric.compute() == pytest.approx(value)


def test_everything_of_nothing_is_not_a_number() -> None:
    for name in registry.names("metric"):
        found = registry.find("metric", name)
        assert found is not None
        value = found().compute()
        assert name == "confusion_matrix" or math.isnan(value), name


def test_states_are_copies_and_merging_leaves_the_other_as_it_was() -> None:
    a, b = RocAuc(), RocAuc()
    a.update(LOGITS, TARGETS)
    state = a.state()
    b.restore(state)
    a.merge(b)
    a.update(LOGITS, TARGETS)
    assert [len(one._scores) for one in (a, b)] == [3, 1]
    assert len(state["_scores"]) == 1


def test_shapes_and_classes_that_cannot_be_are_named() -> None:
    with pytest.raises(ValueError, match=r"expected outputs .* got outputs \(4, 3\) and targets \(3,\)"):
        Accuracy().update(LOGITS, TARGETS[:3])
    with pytest.raises(ValueError, match="expected targets from 0 to 2"):
        Accuracy().update(LOGITS, tensor([0, 1, 3, 0]))
    with pytest.raises(ValueError, match="binary is of two classes, got 3"):
        metric = F1(average="binary")
        metric.update(LOGITS, TARGETS)
        metric.compute()
    with pytest.raises(ValueError, match="several classes"):
        TopK().update(LOGITS, LOGITS)
    with pytest.raises(ValueError, match=r"\(N, K, 6\)"):
        MeanAveragePrecision().update(LOGITS, LOGITS)


def test_boxes_in_tensors_are_those_in_mappings() -> None:
    box, other = [0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0]
    outputs = tensor([[[*box, 0.9, 0], [*other, 0.8, 0], [0, 0, 0, 0, 0, -1]]])
    targets = tensor([[[*box, 0], [0, 0, 0, 0, -1]]])
    padded, listed = MeanAveragePrecision(), MeanAveragePrecision()
    padded.update(outputs, targets)
    listed.update(
        [{"boxes": tensor([box, other]), "scores": tensor([0.9, 0.8]), "labels": tensor([0, 0])}],
        [{"boxes": tensor([box]), "labels": tensor([0])}],
    )
    assert padded.compute() == listed.compute() == 1.0
    nothing = MeanAveragePrecision()
    nothing.update(outputs[:, 2:], targets)
    assert nothing.compute() == 0.0


def test_values_of_classes_carry_their_names() -> None:
    metrics = {"f1": F1(average="none"), "matrix": ConfusionMatrix()}
    for metric in metrics.values():
        metric.update(LOGITS, TARGETS)
    found = numbers(metrics, ("cat", "dog", "cow"))
    assert found["f1/dog"] == 1.0
    assert found["matrix/cow/cat"] == 1
    assert list(numbers(metrics, ()))[:3] == ["f1/0", "f1/1", "f1/2"]


def test_metrics_in_half_precision() -> None:
    half, single = RocAuc(), RocAuc()
    half.update(LOGITS.bfloat16(), TARGETS)
    single.update(LOGITS, TARGETS)
    assert half.compute() == single.compute()


def test_a_run_reports_metrics_with_arguments_under_names_of_their_own(tmp_path: Path) -> None:
    listed = "[accuracy, {top_k: 2}, {f1: micro}, {type: f1, average: none, name: each}, roc_auc, confusion_matrix]"
    text = small_runs.CONFIG.replace("metrics: [accuracy]", f"metrics: {listed}").replace("steps: 40", "steps: 10")
    run = small_runs.train(tmp_path, "checkpoint.monitor=val/f1", text=text)
    row = json.loads(run.metrics.read_text().splitlines()[-1])
    assert row["val/f1"] == row["val/accuracy"] <= row["val/top_k"] <= 1
    assert {f"val/each/{digit}" for digit in range(10)} <= row.keys()
    matrix = np.array([[row[f"val/confusion_matrix/{i}/{j}"] for j in range(10)] for i in range(10)])
    assert matrix.trace() / matrix.sum() == pytest.approx(row["val/accuracy"])


@pytest.mark.parametrize(
    ("metrics", "monitor", "codes"),
    [
        ("[{type: f1, name: mine}]", "val/mine", []),
        ("[{type: mae, name: mine}]", "val/mine", []),
        ("[{type: f1, average: none}]", "val/f1", ["TL401"]),
        ("[f1, {f1: micro}]", "val/f1", ["TL214"]),
        ("[{top_k: 0}]", "val/top_k", ["TL205"]),
        ("[{f1: micr}]", "val/f1", ["TL210"]),
    ],
)
def test_names_and_arguments_are_checked(tmp_path: Path, metrics: str, monitor: str, codes: list[str]) -> None:
    text = small_runs.CONFIG.replace("[accuracy]", metrics).replace("val/accuracy", monitor)
    _, found = load_config(small_runs.write_config(tmp_path, text), ["unset:early_stop"])
    assert [one.code for one in found] == codes


def test_logits_are_kept_even_if_their_memory_is_used_again() -> None:
    array = np.array([[0.0, 1.0], [1.0, 0.0]], np.float32)
    metric = RocAuc()
    metric.update(from_numpy(array), tensor([1, 0]))
    array[:] = -array
    assert metric.compute() == 1.0
