import numpy as np
import pytest

from torchlite.datasets import card, load
from torchlite.datasets.digits import split_digits


@pytest.fixture(autouse=True)
def no_other_folders(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("TORCHLITE_DATA", raising=False)


def test_both_splits_are_what_the_card_says():
    spec = card("digits")
    for split in ("train", "test"):
        inputs, targets = load("digits", split, download=False)
        assert inputs.shape == (spec.splits[split], 1, 8, 8) and inputs.dtype == np.uint8
        assert inputs.min() == 0 and inputs.max() == spec.scale
        assert targets.dtype == np.int64
    train, _ = load("digits", "train")
    scaled = train / spec.scale
    assert (round(scaled.mean(), 4), round(scaled.std(), 4)) == (spec.mean[0], spec.std[0])


def test_the_first_test_sample_is_the_first_zero_of_the_source():
    inputs, targets = load("digits", "test")
    assert targets[0] == 0
    assert inputs[0, 0, 0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]


def test_the_split_is_a_partition_and_stratified():
    labels = np.random.default_rng(0).integers(0, 10, 1797)
    train, test = split_digits(labels, "train"), split_digits(labels, "test")
    assert np.array_equal(np.sort(np.concatenate([train, test])), np.arange(1797))
    assert len(test) == 360
    share = np.bincount(labels[test], minlength=10) - np.bincount(labels, minlength=10) / 5
    assert np.abs(share).max() < 1
    assert (np.diff(train) > 0).all() and (np.diff(test) > 0).all()
