"""Optimizers and learning-rate schedules, by PyTorch's names.

All of ``torch.optim`` but SparseAdam, which takes sparse gradients only: there are no sparse tensors here.
"""

from torchlite.optim import lr_scheduler, swa_utils
from torchlite.optim.adadelta import Adadelta
from torchlite.optim.adafactor import Adafactor
from torchlite.optim.adagrad import Adagrad
from torchlite.optim.adam import Adam, AdamW
from torchlite.optim.adamax import Adamax
from torchlite.optim.asgd import ASGD
from torchlite.optim.lbfgs import LBFGS
from torchlite.optim.muon import Muon
from torchlite.optim.nadam import NAdam
from torchlite.optim.optimizer import Optimizer
from torchlite.optim.radam import RAdam
from torchlite.optim.rmsprop import RMSprop
from torchlite.optim.rprop import Rprop
from torchlite.optim.sgd import SGD
from torchlite.optim.stateless import swap_in_optimizer_params_and_state

__all__ = [
    "ASGD", "LBFGS", "SGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Muon", "NAdam", "Optimizer",
    "RAdam", "RMSprop", "Rprop", "lr_scheduler", "swa_utils", "swap_in_optimizer_params_and_state",
]  # fmt: skip
