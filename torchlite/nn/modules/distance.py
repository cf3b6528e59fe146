"""PyTorch's place of these modules; import them from `torchlite.nn`."""

from torchlite.nn.distance import CosineSimilarity, PairwiseDistance

__all__ = ["CosineSimilarity", "PairwiseDistance"]
