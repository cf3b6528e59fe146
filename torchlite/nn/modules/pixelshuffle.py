"""PyTorch's place of these modules; import them from `torchlite.nn`."""

from torchlite.nn.shuffling import PixelShuffle, PixelUnshuffle

__all__ = ["PixelShuffle", "PixelUnshuffle"]
