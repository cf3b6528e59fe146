"""Activation functions. With ``inplace=True``, or under the name ``f_``, they write the result into their input."""

from __future__ import annotations

import math
import warnings

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.autocasting import autocasts
from torchlite.composites.activation import floating
from torchlite.composites.sampling import exponential_
from torchlite.dispatch import apply
from torchlite.ir import Autocast
from torchlite.ops import pointwise
from torchlite.ops import softmax as softmax_ops
from torchlite.ops.activation import (
    activated,
    elu_op,
    gated_op,
    gelu_op,
    hardtanh_op,
    leaky_relu_op,
    silu_op,
    softplus_op,
)
from torchlite.ops.arithmetic import clamp, where
from torchlite.ops.construct import plain
from torchlite.ops.destination import takes_out
from torchlite.ops.gathering import scatter
from torchlite.ops.half_precision import HALVES, rounded_once
from torchlite.ops.mutation import inplace as in_place
from torchlite.ops.pointwise import sigmoid, tanh

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0)."""
    return input.relu_() if inplace else pointwise.relu(input)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """x limited to [min_val, max_val], without a gradient at the limits.

    Raises:
        ValueError: when ``min_val`` is above ``max_val``.
    """
    if min_val > max_val:
        raise ValueError(f"min_val cannot be greater than max_val, got {min_val} and {max_val}")
    if inplace:
        return hardtanh_(input, min_val, max_val)
    if input._data.dtype.kind == "b":
        raise RuntimeError("Bool inputs not supported for hardtanh")
    return activated(hardtanh_op, input, min_val=min_val, max_val=max_val)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x, 0), 6)."""
    return hardtanh(input, 0.0, 6.0, inplace)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x + 3, 0), 6) / 6 (Courbariaux et al., 2015)."""
    if inplace:
        return _hardsigmoid_(input)
    return _of_hardsigmoid(floating("hardsigmoid", input))


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x · hardsigmoid(x) (Howard et al., 2019)."""
    return _hardswish_(input) if inplace else _of_hardswish(floating("hardswish", input))


@rounded_once
def _of_hardsigmoid(input: Tensor) -> Tensor:
    return hardtanh(input + 3, 0.0, 6.0) / 6


@rounded_once
def _of_hardswish(input: Tensor) -> Tensor:
    return input * hardtanh(input + 3, 0.0, 6.0) / 6


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x for x > 0, α(eˣ - 1) below (Clevert et al., 2015)."""
    if inplace:
        return elu_(input, alpha)
    return activated(elu_op, floating("elu", input), alpha=alpha, scale=1.0, slope=1.0)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x for x > 0, α(exp(x / α) - 1) below (Barron, 2017).

    Raises:
        RuntimeError: for α = 0.
    """
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    if inplace:
        return celu_(input, alpha)
    return activated(elu_op, floating("celu", input), alpha=alpha, scale=1.0, slope=1 / alpha)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """Scale · x for x > 0, scale · α(eˣ - 1) below, which keeps mean 0 and variance 1 (Klambauer et al., 2017)."""
    if inplace:
        return selu_(input)
    return activated(elu_op, floating("selu", input), alpha=_SELU_ALPHA, scale=_SELU_SCALE, slope=1.0)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x for x > 0, negative_slope · x below (Maas et al., 2013)."""
    if inplace:
        return leaky_relu_(input, negative_slope)
    return activated(leaky_relu_op, floating("leaky_relu", input), negative_slope=negative_slope)


def rrelu(
    input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """A leaky ReLU whose slope below 0 is drawn from U(lower, upper) for each element in training, and their mean
    otherwise (Xu et al., 2015).

    Raises:
        RuntimeError: when ``lower`` is above ``upper``.
    """
    if not lower <= upper:
        raise RuntimeError(
            f"Lower bound should be less than or equal to the upper bound, got lower={lower} and upper={upper}"
        )
    if inplace:
        return rrelu_(input, lower, upper, training)
    if not training:
        return leaky_relu(input, (lower + upper) / 2)
    slopes = floating("rrelu", input).new_empty(input.shape).uniform_(lower, upper)
    return where(input > 0, input, input * slopes)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where x > threshold, ``value`` elsewhere."""
    if inplace:
        return threshold_(input, threshold, value)
    compared = input.to(dtypes.float32) if input._data.dtype in HALVES else input  # the threshold is not rounded
    return where(compared <= threshold, input.new_full((), value), input)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a · σ(b), where a and b are the halves of x along ``dim`` (Dauphin et al., 2016).

    Raises:
        RuntimeError: for a scalar and for an odd length.
    """
    if input.ndim == 0:
        raise RuntimeError("glu does not support scalars because halving size must be even")
    dim = input._checked_dim(dim)
    length = input.shape[dim]
    if length % 2:
        raise RuntimeError(f"Halving dimension must be even, but dimension {dim} is size {length}")
    half = length // 2
    x, gate = floating("glu", input).narrow(dim, 0, half), input.narrow(dim, half, half)
    return apply(gated_op, (x, gate)) if x._data.dtype in HALVES else x * sigmoid(gate)


@takes_out
def gelu(input: Tensor, *, approximate: str = "none") -> Tensor:
    """x Φ(x), the Gaussian error linear unit (Hendrycks & Gimpel, 2016); "tanh" approximates Φ.

    Raises:
        RuntimeError: for another ``approximate`` than "none" or "tanh".
    """
    if approximate not in ("none", "tanh"):
        raise RuntimeError(f"approximate argument must be either none or tanh, got {approximate!r}")
    return apply(gelu_op, (floating("gelu", input),), {"approximate": approximate})


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x · σ(x), also called swish (Elfwing et al., 2017)."""
    return _silu_(input) if inplace else apply(silu_op, (floating("silu", input),))


@autocasts(Autocast(cuda="as given"))
def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x · tanh(softplus(x)) (Misra, 2019)."""
    return _mish_(input) if inplace else _of_mish(floating("mish", input))


@rounded_once
def _of_mish(input: Tensor) -> Tensor:
    return input * tanh(softplus(input))


@takes_out
def softplus(input: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    """ln(1 + exp(β x)) / β without overflow; x itself where β x is above ``threshold``."""
    return activated(softplus_op, floating("softplus", input), beta=beta, threshold=threshold)


@takes_out
@autocasts(Autocast(cuda="as given"))
def logsigmoid(input: Tensor) -> Tensor:
    """ln σ(x), without overflow."""
    return -softplus(-input, threshold=math.inf)


@takes_out
def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by λ, and 0 where |x| ≤ λ.

    Raises:
        RuntimeError: for a negative λ.
    """
    if not lambd >= 0:
        raise RuntimeError(f"lambda must be in range [0, inf) for input dtype {input.dtype.name}, but found {lambd}")
    return _of_softshrink(floating("softshrink", input), plain(lambd))


@rounded_once
def _of_softshrink(input: Tensor, lambd: float) -> Tensor:
    return input - clamp(input, -lambd, lambd)


def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh x."""
    return input - tanh(input)


def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return input / (input.abs() + 1)


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: dtypes.dtype | None = None) -> Tensor:
    """exp(xᵢ) / Σⱼ exp(xⱼ) along ``dim``, computed as ``dtype`` where it is given."""
    return softmax_ops.softmax(input, _softmax_dim("softmax", input, dim, _stacklevel), dtype)


def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: dtypes.dtype | None = None) -> Tensor:
    """`softmax` of -x."""
    return softmax_ops.softmax(-input, _softmax_dim("softmin", input, dim, _stacklevel), dtype)


def log_softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: dtypes.dtype | None = None
) -> Tensor:
    """ln `softmax`, without overflow."""
    return softmax_ops.log_softmax(input, _softmax_dim("log_softmax", input, dim, _stacklevel), dtype)


def _softmax_dim(name: str, input: Tensor, dim: int | None, stacklevel: int) -> int:
    if dim is not None:
        return dim
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an argument.",
        stacklevel=stacklevel,
    )
    return 0 if input.ndim in (0, 1, 3) else 1


def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """A sample from the Gumbel-softmax distribution (Jang et al., 2016): softmax((logits + noise) / τ).

    Args:
        logits: unnormalised log-probabilities.
        tau: the temperature τ.
        hard: give one-hot vectors, with the gradient of the soft sample.
        eps: has no effect.
        dim: the dimension of the classes.
    """
    if eps != 1e-10:
        warnings.warn("`eps` parameter is deprecated and has no effect.", stacklevel=2)
    noise = -exponential_(logits.new_empty(logits.shape)).log()
    soft = softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    chosen = soft.detach().argmax(dim, keepdim=True)
    sharp = scatter(logits.new_zeros(logits.shape), dim, chosen, 1.0)
    return sharp - soft.detach() + soft


celu_, elu_, hardtanh_, leaky_relu_ = in_place(celu), in_place(elu), in_place(hardtanh), in_place(leaky_relu)
rrelu_, selu_, threshold_ = in_place(rrelu), in_place(selu), in_place(threshold)
_hardsigmoid_, _hardswish_, _mish_, _silu_ = map(in_place, (hardsigmoid, hardswish, mish, silu))


def relu_(input: Tensor) -> Tensor:
    """In-place form of `relu`."""
    return input.relu_()
