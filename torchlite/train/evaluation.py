"""Loss and metrics of a model over a split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torchlite import nn
from torchlite.autograd.grad_mode import no_grad
from torchlite.devices import Device
from torchlite.train.data import Samples, batches, in_order
from torchlite.train.metrics import Mean


def evaluate(
    model: nn.Module,
    loss: nn.Module,
    samples: Samples,
    metrics: Mapping[str, Any],
    *,
    batch_size: int,
    workers: int = 0,
    device: Device,
) -> float:
    """The mean loss over ``samples``, in their own order; ``metrics`` are shown every batch.

    The model is in evaluation mode meanwhile and as it was afterwards.
    """
    mean = Mean()
    training = model.training
    model.eval()
    try:
        with no_grad():
            for inputs, targets in batches(samples, in_order(samples, batch_size), workers, device):
                logits = model(inputs)
                mean.update(float(loss(logits, targets)), len(targets))
                for metric in metrics.values():
                    metric.update(logits, targets)
    finally:
        model.train(training)
    return mean.compute()
