"""Intervals by the bootstrap: sums of states are what the drawn samples give, and the ends are where they should be."""

import math

import numpy as np
import pytest

from torchlite.train.bootstrap import intervals
from torchlite.train.evaluation import numbers
from torchlite.train.metrics import F1, MAE, R2, Accuracy, AveragePrecision, ConfusionMatrix, Perplexity, RocAuc, TopK

rng = np.random.default_rng(0)
LOGITS, TARGETS = rng.normal(size=(80, 3)).astype(np.float32), rng.integers(0, 3, 80)
LOSSES = rng.exponential(size=80)


def found(make, outputs=LOGITS, targets=TARGETS, **more):
    return intervals(outputs, targets, LOSSES, {"m": make}, lambda metrics: numbers(metrics, ()), seed=3, **more)


def not_additive(metric):
    return type("Shown", (metric,), {"additive": False})


@pytest.mark.parametrize("metric", [Accuracy, TopK, F1, ConfusionMatrix, Perplexity])
def test_sums_of_states_are_what_the_drawn_samples_give(metric):
    arguments = {"k": 2} if metric is TopK else {"average": "none"} if metric is F1 else {}
    got = found(lambda: metric(**arguments), resamples=50)
    shown = found(lambda: not_additive(metric)(**arguments), resamples=50)
    assert got.keys() == shown.keys()
    for name in got:
        assert got[name] == pytest.approx(shown[name], rel=1e-12)


def test_the_interval_of_a_share_is_that_of_the_normal_approximation():
    (low, high), share = found(Accuracy)["m"], np.mean(LOGITS.argmax(1) == TARGETS)
    half = 1.96 * math.sqrt(share * (1 - share) / 80)
    assert (low, high) == pytest.approx((share - half, share + half), abs=0.02)


def test_the_loss_has_one_and_equal_seeds_give_equal_ones():
    loss = found(Accuracy)["loss"]
    assert loss[0] < LOSSES.mean() < loss[1]
    assert loss == found(Accuracy)["loss"]


@pytest.mark.parametrize("metric", [RocAuc, AveragePrecision])
def test_metrics_of_an_order(metric):
    low, high = found(metric, resamples=200)["m"]
    whole = metric()
    from torchlite import tensor

    whole.update(tensor(LOGITS), tensor(TARGETS))
    assert low < whole.compute() < high


@pytest.mark.parametrize("metric", [MAE, R2])
def test_metrics_of_numbers(metric):
    outputs = rng.normal(size=(80, 1)).astype(np.float32)
    low, high = found(metric, outputs, outputs + 0.1 * rng.normal(size=(80, 1)).astype(np.float32), resamples=100)["m"]
    assert low < high


def test_what_is_not_defined_stays_so():
    assert all(map(math.isnan, found(RocAuc, LOGITS, np.zeros(80, np.int64), resamples=20)["m"]))
