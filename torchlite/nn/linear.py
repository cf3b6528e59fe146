"""Linear maps, embeddings and the module that does nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.nn import functional as F
from torchlite.nn import init
from torchlite.nn.module import Module
from torchlite.ops.creation import empty
from torchlite.parameter import Parameter


class Identity(Module):
    """Returns its input; arguments of any kind are accepted and ignored."""

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        """``input`` itself."""
        return input


class Linear(Module):
    """x Wᵀ + b.

    Args:
        in_features: length of the last dimension of the input.
        out_features: length of the last dimension of the result.
        bias: whether there is a b.
        device, dtype: of the parameters.

    Shape:
        (*, in_features) → (*, out_features); weight: (out_features, in_features), bias: (out_features,). Both start
        uniform in ±1/√in_features.
    """

    inferred: ClassVar[Mapping[str, int]] = {"in_features": -1}

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: dtypes.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(empty(out_features, in_features, device=device, dtype=dtype))
        self.register_parameter("bias", Parameter(empty(out_features, device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features > 0 else 0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        """X Wᵀ + b."""
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Sizes."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Embedding(Module):
    """A table of vectors, looked up by integers.

    Args:
        num_embeddings: rows of the table.
        embedding_dim: length of a vector.
        padding_idx: a row that starts at 0 and is not trained.
        device, dtype: of the table.

    Shape:
        (*) of integers → (*, embedding_dim); weight: (num_embeddings, embedding_dim), standard normal at first.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        device: Any = None,
        dtype: dtypes.dtype | None = None,
    ) -> None:
        super().__init__()
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ValueError(f"padding_idx must be within num_embeddings: got {padding_idx} for {num_embeddings} rows")
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.weight = Parameter(empty(num_embeddings, embedding_dim, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        init.normal_(self.weight)
        if self.padding_idx is not None and not self.weight.is_meta:
            init.zeros_(self.weight.detach()[self.padding_idx])

    @classmethod
    def from_pretrained(cls, embeddings: Tensor, freeze: bool = True, padding_idx: int | None = None) -> Embedding:
        """A table of given vectors, trained only when ``freeze`` is False."""
        module = cls(embeddings.shape[0], embeddings.shape[1], padding_idx, device="meta")
        module.weight = Parameter(embeddings, requires_grad=not freeze)
        return module

    def forward(self, input: Tensor) -> Tensor:
        """The rows that ``input`` names."""
        return F.embedding(input, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        """Sizes."""
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
