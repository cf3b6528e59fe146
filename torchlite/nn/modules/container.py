"""PyTorch's place of these modules; import them from `torchlite.nn`."""

from torchlite.nn.containers import ModuleDict, ModuleList, Sequential
from torchlite.nn.parameter_containers import ParameterDict, ParameterList

__all__ = ["ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"]
