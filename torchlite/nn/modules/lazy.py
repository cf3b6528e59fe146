"""PyTorch's place of these modules; import them from `torchlite.nn`."""

from torchlite.nn.lazy import LazyModuleMixin

__all__ = ["LazyModuleMixin"]
