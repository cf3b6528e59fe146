"""A trained model out of a run folder, for evaluation and export."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchlite import nn
from torchlite.devices import Device
from torchlite.ops.generator import default_generator
from torchlite.train.check import traces_of
from torchlite.train.checkpoint import Checkpoint
from torchlite.train.config.schema import Config
from torchlite.train.model import Trace, build_models
from torchlite.train.plan import choose_device
from torchlite.train.progress import load_model
from torchlite.train.run_directory import RunDirectory, checkpoint_of, find_run


@dataclass(frozen=True)
class Trained:
    """A model with the weights of a checkpoint, or their average where the run keeps one, in evaluation mode.

    Attributes:
        run, checkpoint: where it comes from.
        config: its configuration.
        traces: the models followed on shapes, by name.
        model: the model.
        device: where it is.
    """

    run: RunDirectory
    checkpoint: Checkpoint
    config: Config
    traces: dict[str, Trace]
    model: nn.Module
    device: Device


def load_trained(
    run: str | Path,
    which: str = "best",
    device: str | None = None,
    *,
    allow_code: bool = False,
    metrics: str | None = None,
) -> Trained:
    """The model of a run at a checkpoint: "best", "last" or a step.

    Args:
        run: its folder, or that of one of its checkpoints, which is then taken.
        which: the checkpoint.
        device: where to put it; that of the training where None.
        allow_code: whether code that came with the run may run.
        metrics: those that the configuration is to have instead of its own, as YAML between brackets.

    Raises:
        UsageError, CheckpointError: when there is no such run or checkpoint, or it is damaged. ConfigError: for other metrics
            than there are.
    """
    run, which = _named_checkpoint(Path(run)) or (run, which)
    found = find_run(run)
    config = found.read_config(allow_code=allow_code)
    if metrics is not None:
        config = found.read_config(_with_metrics(config, metrics), allow_code=allow_code)
    checkpoint = checkpoint_of(found, which)
    target = choose_device(device or config.train.device)
    traces = traces_of(config)
    state = default_generator.state()
    model: Any = build_models(config, traces, target)
    default_generator.restore(state)  # the initial values that are about to be replaced cost no random numbers
    load_model(model, checkpoint.average or checkpoint.model, str(checkpoint.folder))
    return Trained(found, checkpoint, config, traces, model.eval(), target)


def _with_metrics(config: Config, metrics: str) -> list[str]:
    """The changes to a configuration that give it other metrics; nothing monitors those that it had."""
    changes = [f"metrics=[{metrics}]"]
    if config.checkpoint.monitor is not None:
        changes += ["unset:checkpoint.monitor", *(["unset:checkpoint.mode"] if config.checkpoint.mode else [])]
    if config.early_stop is not None:
        changes.append("unset:early_stop")
    return changes


def _named_checkpoint(path: Path) -> tuple[Path, str] | None:
    """The run and the step of the folder of a checkpoint; None for another one."""
    match = re.fullmatch(r"step-0*(\d+)", path.name)
    if match is None or path.parent.name != "checkpoints":
        return None
    return path.parent.parent, match[1]
