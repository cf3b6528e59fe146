"""A trained model out of a run folder or a file of weights, for evaluation, prediction and export."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchlite import nn
from torchlite.devices import Device
from torchlite.errors import UsageError
from torchlite.ops.generator import default_generator
from torchlite.train.check import traces_of
from torchlite.train.checkpoint import Checkpoint
from torchlite.train.config.load import require_config
from torchlite.train.config.schema import Config
from torchlite.train.initial import FILES, read_weights
from torchlite.train.model import Trace, build_models
from torchlite.train.plan import choose_device
from torchlite.train.progress import load_model
from torchlite.train.run_directory import RunDirectory, checkpoint_of, find_run


@dataclass(frozen=True)
class Loaded:
    """A model with weights in evaluation mode.

    Attributes:
        config: its configuration.
        traces: the models followed on shapes, by name.
        model: the model.
        device: where it is.
        step: behind which training step the weights are; None of a file, which does not say.
    """

    config: Config
    traces: dict[str, Trace]
    model: nn.Module
    device: Device
    step: int | None


@dataclass(frozen=True)
class Trained(Loaded):
    """A model with the weights of a checkpoint, or their average where the run keeps one.

    Attributes:
        run, checkpoint: where it comes from.
    """

    run: RunDirectory
    checkpoint: Checkpoint


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
    if Path(run).suffix in FILES:
        raise UsageError(
            f"'{run}' holds weights and does not say of which model: name a run, or a configuration behind it"
        )
    found, checkpoint = _checkpoint(run, which)
    config = _with_metrics(lambda changes: found.read_config(changes, allow_code=allow_code), metrics)
    loaded = _loaded(config, checkpoint.average or checkpoint.model, str(checkpoint.folder), device, checkpoint.step)
    return Trained(**vars(loaded), run=found, checkpoint=checkpoint)


def load_for(
    config: Path, weights: str | Path, which: str = "best", device: str | None = None, *, metrics: str | None = None
) -> Loaded:
    """The model of a configuration with the weights of a run, or of a file (.safetensors, .npz, .pt).

    Args:
        config: the file of the configuration; it says what the data is, too.
        weights: the run, the folder of one of its checkpoints, or the file.
        which, device, metrics: as in `load_trained`.

    Raises:
        ConfigError: showing every mistake. UsageError, CheckpointError, FormatError: when the weights are not there, are
            damaged or do not fit the model.
    """
    read = _with_metrics(lambda changes: require_config(config, changes), metrics)
    if Path(weights).suffix in FILES:
        return _loaded(read, read_weights(weights), str(weights), device, None)
    _, checkpoint = _checkpoint(weights, which)
    return _loaded(read, checkpoint.average or checkpoint.model, str(checkpoint.folder), device, checkpoint.step)


def _checkpoint(run: str | Path, which: str) -> tuple[RunDirectory, Checkpoint]:
    run, which = _named_checkpoint(Path(run)) or (run, which)
    found = find_run(run)
    return found, checkpoint_of(found, which)


def _loaded(config: Config, weights: Mapping[str, Any], where: str, device: str | None, step: int | None) -> Loaded:
    target = choose_device(device or config.train.device)
    traces = traces_of(config)
    state = default_generator.state()
    model: Any = build_models(config, traces, target)
    default_generator.restore(state)  # the initial values that are about to be replaced cost no random numbers
    load_model(model, weights, where)
    return Loaded(config, traces, model.eval(), target, step)


def _with_metrics(read: Callable[[Sequence[str]], Config], metrics: str | None) -> Config:
    """A configuration, with other metrics where there are any; nothing monitors those that it had then."""
    config = read(())
    if metrics is None:
        return config
    changes = [f"metrics=[{metrics}]"]
    if config.checkpoint.monitor is not None:
        changes += ["unset:checkpoint.monitor", *(["unset:checkpoint.mode"] if config.checkpoint.mode else [])]
    if config.early_stop is not None:
        changes.append("unset:early_stop")
    return read(changes)


def _named_checkpoint(path: Path) -> tuple[Path, str] | None:
    """The run and the step of the folder of a checkpoint; None for another one."""
    match = re.fullmatch(r"step-0*(\d+)", path.name)
    if match is None or path.parent.name != "checkpoints":
        return None
    return path.parent.parent, match[1]
