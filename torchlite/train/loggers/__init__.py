"""Where a run's numbers go besides its folder: ``log`` of a configuration.

A logger is an observer (`torchlite.train.loop.Observer`) that finds the folder of the run in ``self.folder``. Their packages
are imported when a run begins, so that one that is not there is known before the first step.
"""

from torchlite.train.loggers.services import MLflow, Trackio, WeightsAndBiases
from torchlite.train.loggers.tensorboard import TensorBoard

LOGGERS = {"tensorboard": TensorBoard, "mlflow": MLflow, "wandb": WeightsAndBiases, "trackio": Trackio}

__all__ = ["LOGGERS", "MLflow", "TensorBoard", "Trackio", "WeightsAndBiases"]
