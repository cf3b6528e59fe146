"""What the report of a run says, read from its folder and found by running its model once more."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from torchlite import backends
from torchlite.autograd.grad_mode import no_grad
from torchlite.serialization.atomic import write_file
from torchlite.train.config.load import data_card
from torchlite.train.config.semantics import default_monitor
from torchlite.train.data import Samples, Splits, batches, in_order, load_splits
from torchlite.train.evaluation import evaluate_trained
from torchlite.train.metrics.metric import log_softmax
from torchlite.train.metrics_log import read_metrics
from torchlite.train.progress import COUNTS
from torchlite.train.report import charts
from torchlite.train.report.page import facts, folded, page, section, table
from torchlite.train.run_directory import RunDirectory
from torchlite.train.trained import Trained, load_trained
from torchlite.vision.png import encode_png

Array = np.ndarray[Any, Any]

SHOWN = 24
"""Samples with their predictions, half of them mistakes where there are as many."""
_LOOKED_AT = 2000
_PARAMETERS = 16


def write_report(run: RunDirectory, *, allow_code: bool = False) -> Path:
    """Write ``report.html`` into the folder of a run; where it lies.

    Raises:
        TorchliteError: where the checkpoint, the data or user code are not to be had.
    """
    trained = load_trained(run.path, "best", "cpu", allow_code=allow_code)
    path = run.path / "report.html"
    write_file(path, [report(trained).encode()])
    return path


def report(trained: Trained) -> str:
    """The page."""
    config, run = trained.config, trained.run
    rows = read_metrics(run.metrics)
    splits = load_splits(config)
    single = not config.models
    parts = [facts(_facts(trained, rows)), section("Curves", _curves(rows))]
    if single and splits.val is not None:
        parts += [_evaluation(trained), section("Predictions", _predictions(trained, splits.val))]
    parts.append(section("Made during training", _made(run.path / "samples")))
    parts.append(section("Weights", _weights(trained)))
    if single:
        parts.append(section("Gradients of one batch of training data", _gradients(trained, splits)))
    parts += [section("Configuration", _text(run.config.read_text())), section("Environment", _environment(run.path))]
    dataset = f"{config.data.type}, {len(splits.train):,} samples to train on"
    return page(config.name, f"{run.path.name} · {dataset} · checkpoint of step {trained.checkpoint.step}", parts)


def _facts(trained: Trained, rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    status, config = trained.run.status(), trained.config
    monitor = config.checkpoint.monitor or default_monitor(config)
    at_best = [row for row in rows if row["step"] == trained.checkpoint.step and monitor in row]
    steps = [row for row in rows if "loss" in row]
    found = {"state": str(status.get("reason") or status.get("state", "unknown"))}
    if steps:
        found["steps"] = f"{steps[-1]['step']:,}"
        found["epochs"] = f"{steps[-1]['epoch']:,}"
    if at_best:
        found[f"{monitor}, best"] = charts.number(float(at_best[-1][monitor]))
    found["parameters"] = f"{sum(p.numel() for p in trained.model.parameters()):,}"
    found["seed"] = str(config.seed)
    counts = {name: int(status[name]) for name in COUNTS if status.get(name)}
    return found | {name: f"{count:,}" for name, count in counts.items()}


def _curves(rows: Sequence[dict[str, Any]]) -> str:
    """The losses together, the learning rate, and each metric, those of classes together."""
    series: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        for name, value in row.items():
            if name not in ("step", "epoch", *COUNTS) and "/confusion_matrix/" not in name:
                series.setdefault(name, []).append((row["step"], float(value)))
    losses = {name: series.pop(name) for name in ("loss", "train/loss", "val/loss") if name in series}
    drawn = [
        charts.lines("loss", {name if name != "loss" else "each step": at for name, at in losses.items()}, log=True)
    ]
    rate = series.pop("lr", [])
    groups: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for name, points in series.items():
        stage, _, rest = name.partition("/")
        metric, _, label = rest.partition("/")
        groups.setdefault(f"{stage}/{metric}", {})[label or name] = points
    drawn += [charts.lines(name, group) for name, group in groups.items()]
    drawn.append(charts.lines("learning rate", {"lr": rate}))
    return f'<div class="charts">{"".join(drawn)}</div>' if any(drawn) else ""


def _evaluation(trained: Trained) -> str:
    result = evaluate_trained(trained, "val")
    values = {name: value for name, value in result["metrics"].items() if "/" not in name}
    listed = table(["validation", "value"], [[name, charts.number(float(value))] for name, value in values.items()])
    content = f"<p class='weak'>{result['samples']:,} samples</p>{listed}"
    if result["confusion"]:
        names = list(result["per_class"])
        matrix = charts.matrix("Confusion matrix", np.array(result["confusion"]), names)
        recalls = [[name, f"{one['accuracy']:.1%}"] for name, one in result["per_class"].items()]
        content += f"<br>{matrix}{folded('Recognised of each class', table(['class', 'share'], recalls))}"
    return section("Evaluation", content)


def _predictions(trained: Trained, samples: Samples) -> str:
    """Some samples with what was predicted, the surest mistakes first; of other tasks outputs beside targets."""
    config, count = trained.config, min(len(samples), _LOOKED_AT)
    indices = in_order(samples, config.eval.batch_size or config.data.batch_size)
    outputs, targets = [], []
    with no_grad():
        for inputs, wanted in batches(samples, indices[: -(-count // len(indices[0]))], 0, trained.device):
            outputs.append(backends.to_numpy(trained.model(inputs)._data))
            targets.append(backends.to_numpy(wanted._data))
    out, target = np.concatenate(outputs), np.concatenate(targets)
    classes = data_card(config.data).classes
    if out.ndim == 2 and target.ndim == 1 and len(classes) == out.shape[1]:
        return _decided(np.exp(log_softmax(out)), target, samples.inputs, classes)
    if out.shape == target.shape and out.ndim == 2:
        pairs = [[str(i), _numbers(target[i]), _numbers(out[i])] for i in range(min(10, len(out)))]
        return table(["sample", "target", "output"], pairs)
    return ""


def _decided(shares: Array, targets: Array, inputs: Any, classes: Sequence[str]) -> str:
    predicted = shares.argmax(1)
    sure = shares.max(1)
    missed = np.flatnonzero(predicted != targets)
    missed = missed[np.argsort(-sure[missed], kind="stable")][: SHOWN // 2]
    right = np.flatnonzero(predicted == targets)[: SHOWN - len(missed)]
    cards = []
    for i in (*missed, *right):
        is_right = predicted[i] == targets[i]
        said = f"<b>{escape(classes[predicted[i]])}</b> {sure[i]:.0%}"
        truth = "✓" if is_right else f"✗ is {escape(classes[targets[i]])}"
        picture = _image(inputs[i], classes[targets[i]])
        cards.append(f'<div class="sample{"" if is_right else " miss"}">{picture}{said}<br>{truth}</div>')
    total = (
        f"{np.count_nonzero(predicted != targets):,} of the first {len(targets):,} are mistakes; the surest come first."
    )
    return f'<p class="weak">{total}</p><div class="samples">{"".join(cards)}</div>'


def _image(array: Array, name: str) -> str:
    """An input as a picture, where it is one."""
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or array.shape[0] not in (1, 3):
        return ""
    low, high = float(array.min()), float(array.max())
    scaled: Array = (255 * (array.astype(np.float64) - low) / (high - low or 1.0)).astype(np.uint8)
    return _picture(encode_png(scaled.transpose(1, 2, 0)), name, "")


def _picture(content: bytes, name: str, kind: str) -> str:
    data = base64.b64encode(content).decode()
    return f'<img class="{kind}" alt="{escape(name)}" src="data:image/png;base64,{data}">'


def _made(folder: Path) -> str:
    """The newest picture and text that callbacks have left."""
    content = ""
    for path in sorted(folder.glob("*.png"))[-1:]:
        content += f"<p class='weak'>{escape(path.name)}</p>{_picture(path.read_bytes(), path.name, 'made')}"
    for path in sorted(folder.glob("*.txt"))[-1:]:
        content += f"<p class='weak'>{escape(path.name)}</p>{_text(path.read_text(errors='replace'))}"
    return content


def _weights(trained: Trained) -> str:
    return _histograms({name: p for name, p in trained.model.named_parameters() if p.numel() > 1})


def _gradients(trained: Trained, splits: Splits) -> str:
    """The gradients at the weights of the checkpoint, with dropout off and statistics as they are."""
    config, model = trained.config, trained.model
    first = in_order(splits.train, config.data.batch_size)[:1]
    ((inputs, targets),) = batches(splits.train, first, 0, trained.device)
    parameters = dict(model.named_parameters())
    config.loss.build().to(trained.device)(model(inputs), targets).backward()
    return _histograms({name: p.grad for name, p in parameters.items() if p.grad is not None and p.numel() > 1})


def _histograms(tensors: dict[str, Any]) -> str:
    """Of the largest tensors, in their order."""
    largest = sorted(tensors, key=lambda name: -tensors[name].numel())[:_PARAMETERS]
    drawn = [
        charts.histogram(name, backends.to_numpy(tensor._data).astype(np.float32))
        for name, tensor in tensors.items()
        if name in largest
    ]
    return f'<div class="charts many">{"".join(drawn)}</div>' if drawn else ""


def _environment(folder: Path) -> str:
    try:
        found: dict[str, Any] = json.loads((folder / "env.json").read_text())
    except (OSError, ValueError):
        return ""
    packages = found.pop("packages", {})
    values = [[name, value if isinstance(value, str) else json.dumps(value)] for name, value in found.items()]
    listed = table(["package", "version"], [[name, str(version)] for name, version in packages.items()])
    command = (folder / "command.txt").read_text() if (folder / "command.txt").is_file() else ""
    return (_text(command) if command else "") + table(["", ""], values) + folded(f"{len(packages)} packages", listed)


def _text(text: str) -> str:
    return f"<pre>{escape(text.strip())}</pre>"


def _numbers(values: Array) -> str:
    return ", ".join(charts.number(float(value)) for value in values[:8])
