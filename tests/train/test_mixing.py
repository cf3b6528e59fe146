"""Mixup and CutMix: what becomes of samples and targets, and that runs repeat and resume with them."""

from pathlib import Path

import numpy as np
import pytest
from small_runs import CONFIG, Quiet, final_state, losses, rewound, train

from torchlite.train import run
from torchlite.train.check import check_shapes
from torchlite.train.config.load import require_config
from torchlite.train.config.schema import Mix
from torchlite.train.data import load_splits
from torchlite.train.mixing import Mixing
from torchlite.train.smoke import check_smoke
from torchlite.vision.transforms import sample_keys

KEYS = sample_keys(0, 0, np.arange(6))
IMAGES = np.arange(6 * 2 * 8 * 8, dtype=np.float32).reshape(6, 2, 8, 8)
TARGETS = np.array([0, 1, 2, 0, 1, 2])


def test_mixup_weights_samples_and_targets_alike() -> None:
    mixed, shares = Mixing(Mix(mixup=1.0), 6)(
        IMAGES, np.arange(6), KEYS
    )  # every sample is a class: shares say the partner
    assert shares.dtype == np.float32 and shares.shape == (6, 6)
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-6)
    assert 0 < np.diag(shares).min() < 1
    np.testing.assert_allclose(mixed, np.tensordot(shares, IMAGES, axes=1), rtol=1e-5)


def test_cutmix_takes_a_rectangle_and_counts_its_area() -> None:
    for seed in range(8):
        keys = sample_keys(seed, 0, np.arange(6))
        mixed, shares = Mixing(Mix(cutmix=1.0), 3)(IMAGES, TARGETS, keys)
        own = (mixed == IMAGES).all(1)  # (N, 8, 8)
        partners = [i for i in range(6) if not own[i].all()]
        for i in partners:
            rows, columns = np.where(~own[i])
            height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
            assert len(rows) == height * width, "a rectangle"
            kept = shares[i, TARGETS[i]]
            assert kept == pytest.approx(1 - height * width / 64) or kept == pytest.approx(1.0)


def test_what_is_done_follows_from_the_samples() -> None:
    mixing = Mixing(Mix(mixup=0.3, cutmix=1.0, p=0.5), 3)
    first, second = (mixing(IMAGES, TARGETS, KEYS) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    others = [mixing(IMAGES, TARGETS, sample_keys(0, epoch, np.arange(6)))[0] for epoch in range(40)]
    untouched = sum(np.array_equal(one, IMAGES) for one in others)
    assert 8 <= untouched <= 32, "about half of the batches stay as they are"


def test_numbers_and_yes_or_no_are_averaged() -> None:
    _, targets = Mixing(Mix(mixup=1.0), 1)(IMAGES, np.array([[0.0], [1.0]] * 3, np.float32), KEYS)
    assert targets.dtype == np.float32 and targets.shape == (6, 1) and 0 <= targets.min() <= targets.max() <= 1


MIXED = CONFIG.replace("  batch_size: 16\n", "  batch_size: 16\n  mix: {mixup: 0.4, cutmix: 1.0, p: 0.8}\n")
MIXED = MIXED.replace("optim:", "loss: {type: cross_entropy, label_smoothing: 0.1}\noptim:")


WORKERS = ["data.workers=3", "train.steps=8", "train.accumulate=1"]


@pytest.mark.parametrize("options", [[], WORKERS, ["train.compile=true", "train.steps=12"]])
def test_runs_with_mixed_batches_resume_bit_for_bit(options: list[str], tmp_path: Path) -> None:
    whole = train(tmp_path, *options, text=MIXED)
    part = rewound(whole, 7, tmp_path / "part")
    run.resume(part, Quiet())
    assert final_state(part) == final_state(whole)


def test_only_training_batches_are_mixed_and_the_run_learns(tmp_path: Path) -> None:
    whole = train(tmp_path, text=MIXED)
    assert np.isfinite(losses(whole)).all()
    config = require_config(tmp_path / "config.yaml")
    splits = load_splits(config)
    assert splits.val is not None
    assert splits.train.get_batch(range(16))[1].shape == (16, 10)
    assert splits.val.get_batch(range(16))[1].shape == (16,)
    assert check_smoke(config) == []


@pytest.mark.parametrize(
    "changes, code, text",
    [
        (["loss=multi_margin"], "TL502", "no shares of classes"),
        (
            ["data.transforms=[to_int64]", "model.layers=[Flatten, {Embedding: 4}, {Pool: mean}, {Linear: 10}]"],
            "TL503",
            "floats",
        ),
        (
            ["data.type=tones", "data.transforms=[to_float]", "model.layers=[Flatten, {Linear: 5}]"],
            "TL503",
            "cutmix needs images",
        ),
    ],
)
def test_what_can_not_be_mixed_is_said(changes: list[str], code: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(MIXED)
    _, (problem,) = check_shapes(require_config(tmp_path / "config.yaml", changes))
    assert problem.code == code and text in f"{problem.message} {problem.hint}"
