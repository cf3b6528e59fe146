"""Learning rates that change from step to step."""

from torchlite.optim.lr_scheduler.combined import ChainedScheduler, SequentialLR
from torchlite.optim.lr_scheduler.cosine import CosineAnnealingLR, CosineAnnealingWarmRestarts
from torchlite.optim.lr_scheduler.cyclic import CyclicLR
from torchlite.optim.lr_scheduler.functions import LambdaLR, MultiplicativeLR
from torchlite.optim.lr_scheduler.one_cycle import OneCycleLR
from torchlite.optim.lr_scheduler.plateau import ReduceLROnPlateau
from torchlite.optim.lr_scheduler.scaled import ConstantLR, ExponentialLR, LinearLR, MultiStepLR, PolynomialLR, StepLR
from torchlite.optim.lr_scheduler.scheduler import LRScheduler

_LRScheduler = LRScheduler  # PyTorch's older name, which programs subclass although it is private

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]
