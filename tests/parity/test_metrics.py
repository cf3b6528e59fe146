"""Metrics give what scikit-learn (and pycocotools, for boxes) give, shown in batches of unequal sizes or all at once."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from torchlite import from_numpy
from torchlite.train.registry import registry

sk = pytest.importorskip("sklearn.metrics")
N, C, L = 211, 5, 4


def metric(name: str, **arguments: Any) -> Any:
    found = registry.find("metric", name)
    assert found is not None
    return found(**arguments)


def shown(name: str, outputs: np.ndarray, targets: np.ndarray, **arguments: Any) -> Any:
    """The value over batches, half of which another instance saw, with a state saved and restored on the way."""
    parts = [metric(name, **arguments) for _ in range(2)]
    edges = [0, 3, 50, 51, 120, len(outputs)]
    for place, (begin, end) in enumerate(pairwise(edges)):
        half = place >= 3
        parts[half].update(from_numpy(outputs[begin:end].copy()), from_numpy(targets[begin:end].copy()))
        state = parts[half].state()
        parts[half] = metric(name, **arguments)
        parts[half].restore(state)
    parts[0].merge(parts[1])
    value = parts[0].compute()
    whole = metric(name, **arguments)
    whole.update(from_numpy(outputs), from_numpy(targets))
    np.testing.assert_allclose(np.asarray(value), np.asarray(whole.compute()), rtol=1e-10, atol=1e-10)
    return value


def classes(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits with ties, targets, and the softmax in float64."""
    rng = np.random.default_rng(seed)
    logits = np.round(rng.standard_normal((N, C)), 1).astype(np.float32)
    targets = rng.integers(0, C, N)
    logits[np.arange(N), targets] += 1.0
    odds = np.exp(logits.astype(np.float64))
    return logits, targets, odds / odds.sum(1, keepdims=True)


def labels(seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = np.round(rng.standard_normal((N, L)), 1).astype(np.float32)
    return logits, (logits + rng.standard_normal((N, L)) > 0.4).astype(np.float32)


def equal(a: Any, b: Any) -> None:
    np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


def test_accuracy_and_top_k() -> None:
    logits, targets, _ = classes()
    equal(shown("accuracy", logits, targets), sk.accuracy_score(targets, logits.argmax(1)))
    for k in (1, 2, 4):
        exact = logits + 1e-4 * np.arange(C, 0, -1)  # no ties, which scikit-learn gives to the last class
        equal(shown("top_k", exact, targets, k=k), sk.top_k_accuracy_score(targets, exact, k=k))


@pytest.mark.parametrize("average", ["macro", "micro", "weighted", "none"])
@pytest.mark.parametrize(
    ("name", "reference"),
    [("precision", "precision_score"), ("recall", "recall_score"), ("f1", "f1_score"), ("iou", "jaccard_score")],
)
def test_precision_recall_f1_and_iou(name: str, reference: str, average: str) -> None:
    wanted = getattr(sk, reference)
    theirs = {"average": None if average == "none" else average, "zero_division": 0}
    logits, targets, _ = classes()
    equal(shown(name, logits, targets, average=average), wanted(targets, logits.argmax(1), **theirs))
    logits, truth = labels()
    equal(shown(name, logits, truth, average=average), wanted(truth, logits > 0, **theirs))
    equal(shown(name, logits[:, :1], truth[:, :1], average=average), wanted(truth[:, 0], logits[:, 0] > 0, **theirs))


@pytest.mark.parametrize("name", ["precision", "recall", "f1"])
def test_a_single_yes_or_no_and_two_classes_are_binary(name: str) -> None:
    logits, truth = labels()
    wanted = getattr(sk, f"{name}_score")(truth[:, 0], logits[:, 0] > 0)
    equal(shown(name, logits[:, :1], truth[:, :1]), wanted)
    equal(shown(name, logits[:, 0], truth[:, 0]), wanted)
    odds = 1 / (1 + np.exp(-logits[:, :1].astype(np.float64)))
    equal(shown(name, odds, truth[:, :1], threshold=0.5), wanted)
    two = np.concatenate([np.zeros((N, 1), np.float32), logits[:, :1]], 1)
    equal(shown(name, two, truth[:, 0].astype(np.int64), average="binary"), wanted)


def test_classes_that_do_not_occur_are_left_out_of_the_mean() -> None:
    logits, targets, _ = classes()
    logits[:, 3] = -9
    few = np.where(targets == 3, 0, targets)
    for average in ("macro", "weighted"):
        wanted = sk.f1_score(few, logits.argmax(1), average=average)
        equal(shown("f1", logits, few, average=average), wanted)
    assert np.isnan(shown("f1", logits, few, average="none")[3])
    wanted = sk.precision_score(targets, logits.argmax(1), average="macro", zero_division=0)  # 3 is never predicted
    equal(shown("precision", logits, targets), wanted)


def test_brier() -> None:
    rng = np.random.default_rng(5)
    logits, yes = rng.standard_normal(300) * 3, rng.integers(0, 2, 300)
    wanted = sk.brier_score_loss(yes, 1 / (1 + np.exp(-logits)))
    equal(shown("brier", logits[:, None], yes[:, None].astype(np.float64)), wanted)
    equal(shown("brier", np.stack([np.zeros(300), logits], 1), yes), wanted)
    several, targets = rng.standard_normal((300, 4)), rng.integers(0, 4, 300)
    odds = np.exp(several) / np.exp(several).sum(1, keepdims=True)
    equal(shown("brier", several, targets), np.square(odds - np.eye(4)[targets]).sum(1).mean())


@pytest.mark.parametrize("average", ["macro", "micro", "weighted", "none"])
def test_roc_auc_and_average_precision(average: str) -> None:
    theirs = None if average == "none" else average
    logits, targets, odds = classes()
    wanted = sk.roc_auc_score(targets, odds, average=theirs, multi_class="ovr")
    equal(shown("roc_auc", logits, targets, average=average), wanted)
    wanted = sk.average_precision_score(np.eye(C)[targets], odds, average=theirs)
    equal(shown("average_precision", logits, targets, average=average), wanted)
    scores, truth = labels()
    equal(shown("roc_auc", scores, truth, average=average), sk.roc_auc_score(truth, scores, average=theirs))
    wanted = sk.average_precision_score(truth, scores, average=theirs)
    equal(shown("average_precision", scores, truth, average=average), wanted)


def test_of_two_classes_the_area_is_that_of_the_second() -> None:
    scores, truth = labels()
    two = np.concatenate([np.zeros((N, 1), np.float32), scores[:, :1]], 1)
    for name in ("roc_auc", "average_precision"):
        wanted = getattr(sk, f"{name}_score")(truth[:, 0], scores[:, 0])
        equal(shown(name, two, truth[:, 0].astype(np.int64)), wanted)
        equal(shown(name, scores[:, :1], truth[:, :1]), wanted)


@pytest.mark.parametrize("normalize", ["none", "true", "pred", "all"])
def test_confusion_matrix(normalize: Any) -> None:
    logits, targets, _ = classes()
    theirs = None if normalize == "none" else normalize
    wanted = sk.confusion_matrix(targets, logits.argmax(1), normalize=theirs)
    equal(shown("confusion_matrix", logits, targets, normalize=normalize), wanted)
    scores, truth = labels()
    wanted = sk.confusion_matrix(truth[:, 0], scores[:, 0] > 0, normalize=theirs)
    equal(shown("confusion_matrix", scores[:, :1], truth[:, :1], normalize=normalize), wanted)


def test_errors_of_numbers() -> None:
    rng = np.random.default_rng(3)
    wanted = rng.standard_normal((N, 3)).astype(np.float32)
    given = wanted + rng.standard_normal((N, 3)).astype(np.float32)
    equal(shown("mse", given, wanted), sk.mean_squared_error(wanted.astype(np.float64), given.astype(np.float64)))
    equal(shown("mae", given, wanted), sk.mean_absolute_error(wanted.astype(np.float64), given.astype(np.float64)))
    equal(shown("rmse", given, wanted) ** 2, shown("mse", given, wanted))
    equal(shown("r2", given, wanted), sk.r2_score(wanted.astype(np.float64), given.astype(np.float64)))
    far = wanted.astype(np.float64) + 1e6  # where sums of squares would cancel
    near = given.astype(np.float64) + 1e6
    equal(shown("r2", near, far), sk.r2_score(far, near))
    wanted[:, 1] = 4.0
    given[:, 2] = wanted[:, 2]
    equal(shown("r2", given, wanted), sk.r2_score(wanted.astype(np.float64), given.astype(np.float64)))


def test_perplexity_and_bits_per_character() -> None:
    logits, targets, odds = classes()
    nats = sk.log_loss(targets, odds)
    equal(shown("perplexity", logits, targets), np.exp(nats))
    equal(shown("bits_per_character", logits, targets), nats / np.log(2))


def test_images_and_sequences_are_all_their_places() -> None:
    rng = np.random.default_rng(5)
    logits = rng.standard_normal((N, C, 3, 4)).astype(np.float32)
    targets = rng.integers(0, C, (N, 3, 4))
    targets[rng.random(targets.shape) < 0.2] = 255
    kept = targets != 255
    wanted = sk.jaccard_score(targets[kept], logits.argmax(1)[kept], average="macro")
    equal(shown("iou", logits, targets, ignore_index=255), wanted)
    words, following = rng.standard_normal((N, 7, C)).astype(np.float32), rng.integers(0, C, (N, 7))
    following[:, 5:] = -100
    wanted = sk.accuracy_score(following[:, :5].ravel(), words[:, :5].argmax(-1).ravel())
    equal(shown("accuracy", words, following), wanted)


def boxes(seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Detections near boxes, some wrong, some doubled, for a few images; one image has none of either."""
    rng = np.random.default_rng(seed)
    found, there = [], []
    for image in range(12):
        n = 0 if image == 4 else int(rng.integers(1, 8))
        corner = rng.random((n, 2)) * 60
        truth = np.concatenate([corner, corner + 8 + rng.random((n, 2)) * 30], 1)
        label = rng.integers(0, 3, n)
        chosen = rng.integers(0, n, int(rng.integers(0, 14))) if n else np.zeros(0, np.int64)
        near = truth[chosen] + rng.normal(0, 2.0, (len(chosen), 4))
        said = np.where(rng.random(len(chosen)) < 0.85, label[chosen], rng.integers(0, 3, len(chosen)))
        found.append({"boxes": near, "scores": np.round(rng.random(len(chosen)), 1), "labels": said})
        there.append({"boxes": truth, "labels": label})
    return found, there


@pytest.mark.parametrize("seed", range(4))
def test_mean_average_precision_is_that_of_coco(seed: int, capsys: Any) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    found, there = boxes(seed)

    def entries(images: list[dict[str, Any]]) -> list[dict[str, Any]]:
        listed = []
        for place, image in enumerate(images):
            for row, (x1, y1, x2, y2) in enumerate(image["boxes"]):
                entry = {"image_id": place + 1, "category_id": int(image["labels"][row]) + 1, "iscrowd": 0}
                entry |= {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "id": len(listed) + 1}
                listed.append(entry | ({"score": image["scores"][row]} if "scores" in image else {}))
        return listed

    truth = coco.COCO()
    images = [{"id": place + 1} for place in range(len(there))]
    categories = [{"id": label + 1} for label in range(3)]
    truth.dataset = {"images": images, "annotations": entries(there), "categories": categories}
    truth.createIndex()
    judge = evaluation.COCOeval(truth, truth.loadRes(entries(found)), "bbox")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    ours, half, other = metric("mean_average_precision"), metric("mean_average_precision"), None
    ours.update(found[:5], there[:5])
    half.update(found[5:], there[5:])
    ours.merge(half)
    equal(ours.compute(), judge.stats[0])
    other = metric("mean_average_precision", thresholds=[0.5])
    other.update(found, there)
    equal(other.compute(), judge.stats[1])
