"""Loggers that hand the numbers to a service's own package."""

from __future__ import annotations

from typing import Any

from torchlite.extras import extra
from torchlite.train.loggers.logger import Logger


class MLflow(Logger):
    """A run of MLflow: the configuration as parameters, the numbers as metrics.

    Args:
        experiment: the experiment that it belongs to; the run's name where unset.
        tracking_uri: the server or folder; as MLflow's environment says where unset.
        every: steps between two numbers of the training.
    """

    def __init__(self, experiment: str | None = None, tracking_uri: str | None = None, every: int = 1) -> None:
        super().__init__(every)
        self._mlflow = extra("mlflow", "log: mlflow")
        self.experiment, self.tracking_uri = experiment, tracking_uri

    def open(self, config: Any, _step: int) -> None:
        """Begin the run, or go on with the one that this folder began."""
        if self.tracking_uri is not None:
            self._mlflow.set_tracking_uri(self.tracking_uri)
        self._mlflow.set_experiment(self.experiment or config.name)
        known = self.folder / "mlflow_run_id.txt"
        if known.is_file():
            self._mlflow.start_run(run_id=known.read_text().strip())
            return
        started = self._mlflow.start_run(run_name=self.folder.name)
        known.write_text(started.info.run_id + "\n")
        listed = [(name, str(value)[:500]) for name, value in flattened(config.resolved()).items()]
        for begin in range(0, len(listed), 100):  # the most that the server takes at once
            self._mlflow.log_params(dict(listed[begin : begin + 100]))

    def write(self, values: dict[str, float], step: int) -> None:
        """Write numbers of a step."""
        self._mlflow.log_metrics(values, step=step)

    def close(self, finished: bool) -> None:
        """End the run."""
        self._mlflow.end_run("FINISHED" if finished else "KILLED")


class WeightsAndBiases(Logger):
    """A run of Weights & Biases, whose id is the name of the folder, so that resuming goes on with it.

    Args:
        project: that it belongs to; the run's name where unset.
        entity: the user or team.
        mode: "online", "offline" or "disabled"; as the environment says where unset.
        every: steps between two numbers of the training.
    """

    def __init__(
        self, project: str | None = None, entity: str | None = None, mode: str | None = None, every: int = 1
    ) -> None:
        super().__init__(every)
        self._wandb = extra("wandb", "log: wandb")
        self.project, self.entity, self.mode = project, entity, mode
        self._run: Any = None

    def open(self, config: Any, _step: int) -> None:
        """Begin the run, or go on with the one that this folder began."""
        self._run = self._wandb.init(
            project=self.project or config.name,
            entity=self.entity,
            mode=self.mode,
            name=self.folder.name,
            id=self.folder.name,
            resume="allow",
            dir=str(self.folder),
            config=config.resolved(),
        )

    def write(self, values: dict[str, float], step: int) -> None:
        """Write numbers of a step."""
        self._run.log(values, step=step)

    def close(self, finished: bool) -> None:
        """End the run."""
        self._run.finish(exit_code=0 if finished else 1)


class Trackio(Logger):
    """A run of Trackio, named after the folder.

    Args:
        project: that it belongs to; the run's name where unset.
        space_id: the Space that shows it; on this machine where unset.
        every: steps between two numbers of the training.
    """

    def __init__(self, project: str | None = None, space_id: str | None = None, every: int = 1) -> None:
        super().__init__(every)
        self._trackio = extra("trackio", "log: trackio")
        self.project, self.space_id = project, space_id

    def open(self, config: Any, _step: int) -> None:
        """Begin the run, or go on with the one that this folder began."""
        project = self.project or config.name
        named = {"project": project, "name": self.folder.name, "config": config.resolved()}
        self._trackio.init(**named, space_id=self.space_id, resume="allow")

    def write(self, values: dict[str, float], step: int) -> None:
        """Write numbers of a step."""
        self._trackio.log(values, step=step)

    def close(self, _finished: bool) -> None:
        """End the run."""
        self._trackio.finish()


def flattened(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings and lists by dotted path.

    >>> flattened({"a": {"b": 1}, "c": [2, 3]})
    {'a.b': 1, 'c.0': 2, 'c.1': 3}
    """
    if isinstance(value, dict):
        items = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list):
        items = [(str(key), item) for key, item in enumerate(value)]
    else:
        return {prefix: value}
    found: dict[str, Any] = {}
    for key, item in items:
        found |= flattened(item, f"{prefix}.{key}" if prefix else key)
    return found
