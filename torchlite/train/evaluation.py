"""Loss and metrics of a model over a split, of parts of it, and how certain they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from torchlite import nn
from torchlite.autograd.grad_mode import no_grad
from torchlite.devices import Device
from torchlite.ops.exchange import from_numpy
from torchlite.train.bootstrap import intervals
from torchlite.train.config.load import data_card
from torchlite.train.config.own_data import CsvData
from torchlite.train.config.schema import Config
from torchlite.train.data import Samples, batches, in_order, load_split
from torchlite.train.metrics import Accuracy, ConfusionMatrix, Mean
from torchlite.train.metrics.metric import in_memory
from torchlite.train.precision import mixed
from torchlite.train.slices import slices_of
from torchlite.train.trained import Loaded

Array = np.ndarray[Any, Any]


def evaluate(
    model: nn.Module,
    loss: nn.Module,
    samples: Samples,
    metrics: Mapping[str, Any],
    *,
    batch_size: int,
    most: int | None = None,
    workers: int = 0,
    device: Device,
    precision: str,
) -> float:
    """The mean loss over ``samples``, in their own order; ``metrics`` are shown every batch, of which there are at most ``most``.

    The model is in evaluation mode meanwhile and as it was afterwards.
    """
    mean = Mean()
    training = model.training
    model.eval()
    try:
        with no_grad(), mixed(precision, device):
            for inputs, targets in batches(samples, in_order(samples, batch_size)[:most], workers, device):
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


@dataclass
class _Kept:
    """A metric that keeps what it is shown, and the loss of each sample."""

    loss: nn.Module
    outputs: list[Array] = field(default_factory=list)
    targets: list[Array] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def update(self, outputs: Any, target: Any) -> None:
        """Take in a batch."""
        self.outputs.append(in_memory(outputs).copy())
        self.targets.append(in_memory(target).copy())
        self.losses += [float(self.loss(outputs[i : i + 1], target[i : i + 1])) for i in range(len(target))]

    def whole(self) -> tuple[Array, Array, Array]:
        """Outputs, targets and losses of all samples."""
        return np.concatenate(self.outputs), np.concatenate(self.targets), np.asarray(self.losses)


def classes_of(config: Config) -> tuple[str, ...]:
    """The classes that a sample may be of; none where its target is something else."""
    card, data = data_card(config.data), config.data
    if card.target.shape == ():
        return tuple(card.classes)
    if isinstance(data, CsvData) and data.target.kind == "binary" and config.loss.name == "bce_with_logits":
        return tuple(data.target.classes or ("0", "1"))
    return ()


def evaluate_trained(
    trained: Loaded, split: str, *, slices: Sequence[str] = (), certain: bool = False
) -> dict[str, Any]:
    """Loss, accuracy, the configured metrics and those of each class on a split, ready to be written as JSON.

    Args:
        trained: the model.
        split: train, val or test.
        slices: columns of the table, or ``class``: the same for the samples with each of their values.
        certain: whether each number gets an interval.

    Raises:
        UsageError: where there is no such column. DataError: where there is no such split.
    """
    config = trained.config
    classes = classes_of(config)
    confusion = ConfusionMatrix()
    makers: dict[str, Callable[[], Any]] = {"accuracy": Accuracy} if classes else {}
    makers |= {component.called: component.build for component in config.metrics}
    metrics = {name: make() for name, make in makers.items()}
    loss = config.loss.build().to(trained.device)
    kept = _Kept(loss)
    more = {"confusion": confusion} if classes else {}
    samples = load_split(config, split)
    mean = evaluate(
        trained.model,
        loss,
        samples,
        {**metrics, **more, **({"kept": kept} if slices or certain else {})},
        batch_size=config.eval.batch_size or config.data.batch_size,
        workers=config.data.workers,
        device=trained.device,
        precision=config.train.precision,
    )
    result: dict[str, Any] = {
        "split": split,
        "step": trained.step,
        "samples": len(samples),
        "metrics": {"loss": mean, **numbers(metrics, classes)},
        "per_class": _per_class(confusion, classes),
        "confusion": confusion.compute().tolist(),
    }
    if slices or certain:
        parts = _Parts(*kept.whole(), makers, classes, config.seed)
        every = np.arange(len(samples))
        if certain:
            result["intervals"] = parts.certain(every)
        result["slices"] = {
            column: {
                value: parts.described(places, certain=certain)
                for value, places in slices_of(config, split, column, parts.targets, classes).items()
            }
            for column in slices
        }
    return result


def _per_class(confusion: ConfusionMatrix, classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """For each class how many samples there are, the share that was recognised, the share of what was taken for it that is."""
    counts = confusion.counts
    found = {}
    for i, (name, recall) in enumerate(zip(classes, confusion.recall(), strict=True)) if counts.size else ():
        right, predicted, there = (int(x) for x in (counts[i, i], counts[:, i].sum(), counts[i].sum()))
        f1 = 2 * right / (predicted + there) if predicted + there else float("nan")
        precision = right / predicted if predicted else 0.0
        found[name] = {"samples": there, "accuracy": recall, "precision": precision, "f1": f1}
    return found


@dataclass
class _Parts:
    """What was computed of a split, to be looked at in parts."""

    outputs: Array
    targets: Array
    losses: Array
    makers: Mapping[str, Callable[[], Any]]
    classes: tuple[str, ...]
    seed: int

    def described(self, places: Array, *, certain: bool) -> dict[str, Any]:
        """Loss and metrics of the samples at some places."""
        metrics = {name: make() for name, make in self.makers.items()}
        if places.size:
            for metric in metrics.values():
                metric.update(from_numpy(self.outputs[places]), from_numpy(self.targets[places]))
        mean = float(self.losses[places].mean()) if places.size else float("nan")
        found = {"samples": int(places.size), "metrics": {"loss": mean, **numbers(metrics, self.classes)}}
        return {**found, "intervals": self.certain(places)} if certain and places.size else found

    def certain(self, places: Array) -> dict[str, list[float]]:
        """The intervals of those numbers."""
        found = intervals(
            self.outputs[places],
            self.targets[places],
            self.losses[places],
            self.makers,
            lambda metrics: numbers(metrics, self.classes),
            seed=self.seed,
        )
        return {name: list(between) for name, between in found.items()}


def requirable(result: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, list[str]]]:
    """The numbers that a requirement may name, and names that stand for several of them.

    Of a metric m: ``m``; the ends of its interval ``m.low`` and ``m.high``; of a slice ``m[column=value]``, also with these
    ends; and ``m[column]`` for all values of the column.
    """
    found: dict[str, float] = {}
    groups: dict[str, list[str]] = {}

    def add(part: Mapping[str, Any], column: str = "", value: str = "") -> None:
        ends = {
            f".{end}": {name: between[i] for name, between in part.get("intervals", {}).items()}
            for i, end in enumerate(("low", "high"))
        }
        for ending, values in ({"": part["metrics"]} | ends).items():
            for name, number in values.items():
                label = f"{name}[{column}={value}]{ending}" if column else f"{name}{ending}"
                found[label] = number
                if column:
                    groups.setdefault(f"{name}[{column}]{ending}", []).append(label)

    add(result)
    for column, values in result.get("slices", {}).items():
        for value, part in values.items():
            if part["samples"]:
                add(part, column, value)
    return found, groups
