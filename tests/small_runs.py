"""Small runs for the tests: a few dozen steps on the bundled digits with everything that keeps state."""

import json
import shutil
from pathlib import Path

import numpy as np

from torchlite.train import run
from torchlite.train.config.load import require_config
from torchlite.train.run_directory import RunDirectory

CONFIG = """\
version: 1
name: small
seed: 7
data:
  type: digits
  split: {val: 0.1}
  batch_size: 16
  transforms:
    train: [{to_float: $data.scale}, {random_crop: {size: 8, padding: 1}}]
    eval: [{to_float: $data.scale}]
model:
  layers:
    - Conv2d: {out_channels: 4, kernel_size: 3, padding: 1}
    - BatchNorm2d
    - ReLU
    - Flatten
    - Dropout: 0.3
    - Linear: $data.num_classes
optim: {type: sgd, lr: 0.05, momentum: 0.9}
schedule: {type: cosine, warmup: 5 steps}
train: {steps: 40, accumulate: 3, clip: {norm: 5.0}}
eval: {every: 10 steps, batch_size: 128}
metrics: [accuracy]
checkpoint: {every: 1 steps, keep: {last: 100}, monitor: val/accuracy}
early_stop: {monitor: val/loss, patience: 50}
"""

TEXT = """\
version: 1
name: text
data: {type: text, files: [text.txt], alphabet: "abc \\n", context: 8, split: {val: 0.2}, batch_size: 4}
model: {layers: [{Embedding: 8}, {Linear: $data.vocab_size}]}
loss: sequence_cross_entropy
optim: {type: adamw, lr: 0.1}
train: {steps: 60}
"""


class Quiet:
    """An observer that may stop the run behind a step."""

    def __init__(self, stop_at=None):
        self.stop_at = stop_at

    def started(self, plan, progress):
        self.plan = plan

    def stepped(self, progress, step):
        pass

    def evaluated(self, progress, row, best):
        pass

    def saved(self, progress, folder):
        if progress.step == self.stop_at:
            raise KeyboardInterrupt

    def ended(self, progress, ending):
        pass


def write_config(folder: Path, text: str = CONFIG) -> Path:
    path = folder / "config.yaml"
    path.write_text(text)
    return path


def train(folder: Path, *overrides: str, stop_at: int | None = None, text: str = CONFIG) -> RunDirectory:
    """Train in ``folder``; with ``stop_at`` end abruptly once that step's checkpoint is durable."""
    config = require_config(write_config(folder, text), overrides)
    try:
        return run.train(config, Quiet(stop_at), root=folder / "runs").run
    except KeyboardInterrupt:
        (path,) = (folder / "runs" / "small").iterdir()
        return RunDirectory(path)


def final_state(directory: RunDirectory) -> tuple[bytes, ...]:
    """The bytes that equal runs share: metrics, and the last checkpoint's tensors and state."""
    folder = sorted(directory.path.glob("checkpoints/step-*"))[-1]
    names = ("model.safetensors", "optim.safetensors", "state.json")
    return (directory.metrics.read_bytes(), *((folder / name).read_bytes() for name in names))


def losses(directory: RunDirectory) -> np.ndarray:
    rows = [json.loads(line) for line in directory.metrics.read_text().splitlines()]
    return np.array([row["loss"] for row in rows if "loss" in row])


def rewound(directory: RunDirectory, step: int, target: Path) -> RunDirectory:
    """A copy of a run as it stood when the checkpoint of ``step`` was the newest."""
    shutil.copytree(directory.path, target)
    for folder in target.glob("checkpoints/step-*"):
        if int(folder.name[5:]) > step:
            shutil.rmtree(folder)
    return RunDirectory(target)


QUICK = ("train.steps=12", "train.accumulate=1", "eval.every=6 steps", "checkpoint.every=6 steps")
