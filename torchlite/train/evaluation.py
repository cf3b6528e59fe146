"""Loss and metrics of a model over a split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from torchlite import nn
from torchlite.autograd.grad_mode import no_grad
from torchlite.devices import Device
from torchlite.train.config.load import data_card
from torchlite.train.data import Samples, batches, in_order, load_split
from torchlite.train.metrics import Accuracy, ConfusionMatrix, Mean
from torchlite.train.precision import mixed
from torchlite.train.trained import Trained


def evaluate(
    model: nn.Module,
    loss: nn.Module,
    samples: Samples,
    metrics: Mapping[str, Any],
    *,
    batch_size: int,
    workers: int = 0,
    device: Device,
    precision: str,
) -> float:
    """The mean loss over ``samples``, in their own order; ``metrics`` are shown every batch.

    The model is in evaluation mode meanwhile and as it was afterwards.
    """
    mean = Mean()
    training = model.training
    model.eval()
    try:
        with no_grad(), mixed(precision, device):
            for inputs, targets in batches(samples, in_order(samples, batch_size), workers, device):
                logits = model(inputs)
                mean.update(float(loss(logits, targets)), len(targets))
                for metric in metrics.values():
                    metric.update(logits, targets)
    finally:
        model.train(training)
    return mean.compute()


def numbers(metrics: Mapping[str, Any], classes: Sequence[str]) -> dict[str, float]:
    """The values of metrics as numbers; those with one for each class as ``name/class``, and a matrix as
    ``name/target/prediction``.
    """
    found: dict[str, float] = {}
    for name, metric in metrics.items():
        values = np.asarray(metric.compute())
        named = [classes if len(classes) == n else [str(i) for i in range(n)] for n in values.shape]
        for place in np.ndindex(values.shape):
            label = [name, *(names[i] for names, i in zip(named, place, strict=True))]
            found["/".join(label)] = values[place].item()
    return found


def evaluate_trained(trained: Trained, split: str) -> dict[str, Any]:
    """Loss, accuracy, the configured metrics and the accuracy of each class on a split, ready to be written as JSON."""
    config = trained.config
    card = data_card(config.data)
    classes = card.classes if card.target.shape == () else ()
    confusion = ConfusionMatrix()
    metrics: dict[str, Any] = {"accuracy": Accuracy()} if classes else {}
    metrics |= {component.called: component.build() for component in config.metrics}
    samples = load_split(config, split)
    loss = evaluate(
        trained.model,
        config.loss.build().to(trained.device),
        samples,
        {**metrics, **({"confusion": confusion} if classes else {})},
        batch_size=config.eval.batch_size or config.data.batch_size,
        workers=config.data.workers,
        device=trained.device,
        precision=config.train.precision,
    )
    return {
        "split": split,
        "step": trained.checkpoint.step,
        "samples": len(samples),
        "metrics": {"loss": loss, **numbers(metrics, classes)},
        "per_class": dict(zip(classes, confusion.recall(), strict=True)),
        "confusion": confusion.compute().tolist(),
    }
