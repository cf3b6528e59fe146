"""PyTorch's older place for `functional_call`."""

from torchlite.func.functional_call import functional_call

__all__ = ["functional_call"]
