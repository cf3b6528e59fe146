"""PyTorch's place of these modules; import them from `torchlite.nn`."""

from torchlite.nn.embedding import Embedding, EmbeddingBag

__all__ = ["Embedding", "EmbeddingBag"]
