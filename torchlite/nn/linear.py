"""Linear and bilinear maps, and the module that does nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.nn import functional as F
from torchlite.nn import init
from torchlite.nn.lazy import LazyModuleMixin
from torchlite.nn.module import Module
from torchlite.ops.creation import empty
from torchlite.parameter import Parameter, UninitializedParameter


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
        """x Wᵀ + b."""
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Sizes."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class LazyLinear(LazyModuleMixin, Linear):
    """A `Linear` whose ``in_features`` are those of its first input.

    Args:
        out_features, bias, device, dtype: as in `Linear`.
    """

    cls_to_become = Linear
    inferred: ClassVar[Mapping[str, int]] = {}

    def __init__(
        self, out_features: int, bias: bool = True, device: Any = None, dtype: dtypes.dtype | None = None
    ) -> None:
        super().__init__(0, 0, False)
        self.out_features = out_features
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """Draw initial values, once the shapes are known."""
        if self.in_features and not self.has_uninitialized_params():
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        """Take ``in_features`` from the input."""
        if self.has_uninitialized_params():
            self.in_features = input.shape[-1]
            self.weight.materialize((self.out_features, self.in_features))
            if self.bias is not None:
                self.bias.materialize((self.out_features,))
            self.reset_parameters()


class Bilinear(Module):
    """x₁ᵀ Wₖ x₂ + bₖ for each of the results k.

    Args:
        in1_features, in2_features: lengths of the last dimensions of the inputs.
        out_features: length of the last dimension of the result.
        bias: whether there is a b.
        device, dtype: of the parameters.

    Shape:
        (*, in1_features), (*, in2_features) → (*, out_features); weight: (out_features, in1_features, in2_features),
        bias: (out_features,). Both start uniform in ±1/√in1_features.
    """

    inferred: ClassVar[Mapping[str, int | tuple[int, int]]] = {"in1_features": -1, "in2_features": (1, -1)}

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: dtypes.dtype | None = None,
    ) -> None:
        super().__init__()
        if in1_features <= 0:
            raise ValueError(f"in1_features must be > 0, but got {in1_features}")
        self.in1_features = in1_features
        self.in2_features = in2_features
        self.out_features = out_features
        self.weight = Parameter(empty(out_features, in1_features, in2_features, device=device, dtype=dtype))
        self.register_parameter("bias", Parameter(empty(out_features, device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        bound = 1 / math.sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        """x₁ᵀ W x₂ + b."""
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Sizes."""
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )
