"""PyTorch's place of these modules; import them from `torchlite.nn`."""

from torchlite.nn.shape import Flatten, Unflatten

__all__ = ["Flatten", "Unflatten"]
