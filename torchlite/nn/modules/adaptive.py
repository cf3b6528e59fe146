"""PyTorch's place of these modules; import them from `torchlite.nn`."""

from torchlite.nn.adaptive_softmax import AdaptiveLogSoftmaxWithLoss

__all__ = ["AdaptiveLogSoftmaxWithLoss"]
