"""PyTorch's place of these modules; import them from `torchlite.nn`."""

from torchlite.nn.folding import Fold, Unfold

__all__ = ["Fold", "Unfold"]
