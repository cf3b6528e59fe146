"""PyTorch's place of these modules; import them from `torchlite.nn`."""

from torchlite.nn.shuffling import ChannelShuffle

__all__ = ["ChannelShuffle"]
