"""``torchlite.nn.parameter``, PyTorch's import path; the classes are defined below the files that hold them."""

from torchlite.parameter import Buffer, Parameter, UninitializedBuffer, UninitializedParameter, is_lazy

__all__ = ["Buffer", "Parameter", "UninitializedBuffer", "UninitializedParameter", "is_lazy"]
