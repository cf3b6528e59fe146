"""PyTorch's place of these modules; import them from `torchlite.nn`."""

from torchlite.nn.linear import Bilinear, Identity, LazyLinear, Linear

__all__ = ["Bilinear", "Identity", "LazyLinear", "Linear"]
