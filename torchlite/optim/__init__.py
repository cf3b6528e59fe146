"""Optimizers and learning-rate schedules, by PyTorch's names."""

from torchlite.optim import lr_scheduler, swa_utils
from torchlite.optim.adam import Adam, AdamW
from torchlite.optim.optimizer import Optimizer
from torchlite.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "lr_scheduler", "swa_utils"]
