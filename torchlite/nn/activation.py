"""Activations: modules that apply a function to every element, or to all along a dimension."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, ClassVar

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.nn import functional as F
from torchlite.nn import init
from torchlite.nn.module import Module
from torchlite.ops.creation import empty
from torchlite.parameter import Parameter


class _Activation(Module):
    """A module that applies ``compute``, with the constructor's ``settings``, to its input."""

    compute: ClassVar[Callable[..., Tensor]]
    settings: ClassVar[tuple[str, ...]] = ()

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function."""
        return type(self).compute(input, **{name: getattr(self, name) for name in self.settings})

    def extra_repr(self) -> str:
        """The settings; ``inplace`` only where it is set."""
        return ", ".join(
            f"{name}={getattr(self, name)}" for name in self.settings if name != "inplace" or getattr(self, name)
        )


class ReLU(_Activation):
    """max(x, 0)."""

    compute = staticmethod(F.relu)
    settings = ("inplace",)

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """max(x, 0); spelled out because it is the most frequent activation and the cheapest."""
        return F.relu(input, self.inplace)


class ReLU6(_Activation):
    """min(max(x, 0), 6)."""

    compute = staticmethod(F.relu6)
    settings = ("inplace",)

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace


class LeakyReLU(_Activation):
    """x for x > 0, negative_slope · x below (Maas et al., 2013)."""

    compute = staticmethod(F.leaky_relu)
    settings = ("negative_slope", "inplace")

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace


class ELU(_Activation):
    """x for x > 0, α(eˣ - 1) below (Clevert et al., 2015)."""

    compute = staticmethod(F.elu)
    settings = ("alpha", "inplace")

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace


class CELU(_Activation):
    """x for x > 0, α(exp(x / α) - 1) below (Barron, 2017)."""

    compute = staticmethod(F.celu)
    settings = ("alpha", "inplace")

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace


class SELU(_Activation):
    """Scale · elu(x) with the scale and α that keep mean 0 and variance 1 (Klambauer et al., 2017)."""

    compute = staticmethod(F.selu)
    settings = ("inplace",)

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace


class SiLU(_Activation):
    """x · σ(x) (Elfwing et al., 2017)."""

    compute = staticmethod(F.silu)
    settings = ("inplace",)

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace


class Mish(_Activation):
    """x · tanh(softplus(x)) (Misra, 2019)."""

    compute = staticmethod(F.mish)
    settings = ("inplace",)

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace


class Hardsigmoid(_Activation):
    """min(max(x + 3, 0), 6) / 6."""

    compute = staticmethod(F.hardsigmoid)
    settings = ("inplace",)

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        """Nothing."""
        return ""


class Hardswish(_Activation):
    """x · hardsigmoid(x) (Howard et al., 2019)."""

    compute = staticmethod(F.hardswish)
    settings = ("inplace",)

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        """Nothing."""
        return ""


class GELU(_Activation):
    """x Φ(x) (Hendrycks & Gimpel, 2016).

    Args:
        approximate: "none", or "tanh" for the approximation by a hyperbolic tangent.
    """

    compute = staticmethod(F.gelu)
    settings = ("approximate",)

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def extra_repr(self) -> str:
        """The setting."""
        return f"approximate={self.approximate!r}"


class GLU(_Activation):
    """a · σ(b) of the halves a and b of the input along ``dim`` (Dauphin et al., 2016)."""

    compute = staticmethod(F.glu)
    settings = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim


class Threshold(_Activation):
    """x where x > threshold, ``value`` elsewhere."""

    compute = staticmethod(F.threshold)
    settings = ("threshold", "value", "inplace")

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.threshold = threshold
        self.value = value
        self.inplace = inplace


class Hardshrink(_Activation):
    """x where |x| > λ, 0 elsewhere."""

    compute = staticmethod(F.hardshrink)
    settings = ("lambd",)

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def extra_repr(self) -> str:
        """The setting."""
        return f"{self.lambd}"


class Softshrink(_Activation):
    """x moved towards 0 by λ, and 0 where |x| ≤ λ."""

    compute = staticmethod(F.softshrink)
    settings = ("lambd",)

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def extra_repr(self) -> str:
        """The setting."""
        return f"{self.lambd}"


class Softplus(_Activation):
    """ln(1 + exp(β x)) / β; x itself where β x is above the threshold."""

    compute = staticmethod(F.softplus)
    settings = ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold


class LogSigmoid(_Activation):
    """ln σ(x), without overflow."""

    compute = staticmethod(F.logsigmoid)


class Sigmoid(_Activation):
    """1 / (1 + e⁻ˣ)."""

    compute = staticmethod(F.sigmoid)


class Softsign(_Activation):
    """x / (1 + |x|)."""

    compute = staticmethod(F.softsign)


class Tanh(_Activation):
    """Hyperbolic tangent."""

    compute = staticmethod(F.tanh)


class Tanhshrink(_Activation):
    """x - tanh x."""

    compute = staticmethod(F.tanhshrink)


class Softmax(_Activation):
    """exp(xᵢ) / Σⱼ exp(xⱼ) along ``dim``."""

    compute = staticmethod(F.softmax)
    settings = ("dim",)

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim


class Softmin(_Activation):
    """Softmax of -x along ``dim``."""

    compute = staticmethod(F.softmin)
    settings = ("dim",)

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim


class LogSoftmax(_Activation):
    """ln softmax(x) along ``dim``, without overflow."""

    compute = staticmethod(F.log_softmax)
    settings = ("dim",)

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim


class Hardtanh(_Activation):
    """x limited to [min_val, max_val], without a gradient at the limits.

    Raises:
        ValueError: when ``min_val`` is not below ``max_val``.
    """

    compute = staticmethod(F.hardtanh)
    settings = ("min_val", "max_val", "inplace")

    def __init__(
        self,
        min_val: float = -1.0,
        max_val: float = 1.0,
        inplace: bool = False,
        min_value: float | None = None,
        max_value: float | None = None,
    ) -> None:
        super().__init__()
        if min_value is not None or max_value is not None:
            warnings.warn("min_value and max_value are deprecated, use min_val and max_val instead", stacklevel=2)
        self.min_val = min_val if min_value is None else min_value
        self.max_val = max_val if max_value is None else max_value
        self.inplace = inplace
        if not self.min_val < self.max_val:
            raise ValueError(f"min_val must be below max_val, got {self.min_val} and {self.max_val}")


class RReLU(_Activation):
    """A leaky ReLU with a slope drawn from U(lower, upper) in training, and their mean otherwise (Xu et al., 2015)."""

    compute = staticmethod(F.rrelu)
    settings = ("lower", "upper", "inplace")

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, inplace: bool = False) -> None:
        super().__init__()
        self.lower = lower
        self.upper = upper
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function."""
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)


class PReLU(Module):
    """x for x > 0, weight · x below (He et al., 2015).

    Args:
        num_parameters: 1, or one slope for each channel.
        init: what the slopes start from.
        device, dtype: of the slopes.

    Shape:
        (N, C, *), unchanged; weight: (num_parameters,).
    """

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: dtypes.dtype | None = None
    ) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.weight = Parameter(empty(num_parameters, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Every slope as at the start."""
        init.constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function."""
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        """How many slopes there are."""
        return f"num_parameters={self.num_parameters}"


class Softmax2d(Module):
    """Softmax over the channels at every place of an image.

    Shape:
        (N, C, H, W) or (C, H, W), unchanged.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Softmax over the channels."""
        if input.ndim not in (3, 4):
            raise ValueError(f"Softmax2d: expected input to be 3D or 4D, got {input.ndim}D instead")
        return F.softmax(input, -3)
