"""Activation functions that are methods of Tensor too; the others are in `torchlite.nn.functional`."""

from __future__ import annotations

from torchlite._tensor import Tensor, method
from torchlite.autocasting import autocasts
from torchlite.ir import LOWER
from torchlite.ops.arithmetic import where
from torchlite.ops.destination import takes_out


def floating(name: str, input: Tensor) -> Tensor:
    """``input``, where it is of floating-point numbers.

    Raises:
        RuntimeError: where it is not.
    """
    if input._data.dtype.kind in "biu":
        raise RuntimeError(f'"{name}" not implemented for {input.dtype}: expected a floating-point tensor')
    return input


@method()
@autocasts(LOWER)
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x for x > 0, weight · x below (He et al., 2015).

    Shape:
        - input: (N, C, *) or (C,); weight: (C,), or (1,) or () for all channels

    Raises:
        RuntimeError: when the weight does not fit the channels, or has more than one dimension.
    """
    if weight.ndim > 1:
        raise RuntimeError(f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.ndim}")
    if input.dtype is not weight.dtype:
        raise RuntimeError(
            f"prelu: Type promoting not supported. Got {input.dtype} and {weight.dtype} for input and weight"
        )
    if weight.numel() != 1:
        if input.ndim == 0:
            raise RuntimeError("Not allow zero-dim input tensor.")
        channels = input.shape[1] if input.ndim > 1 else 1
        if channels != weight.numel():
            raise RuntimeError(
                f"Mismatch of parameter numbers and input channel size. Found parameter numbers = {weight.numel()} "
                f"and channel size = {channels}."
            )
        weight = weight.view([-1 if d == 1 else 1 for d in range(input.ndim)])
    elif weight.ndim == 1:
        weight = weight.reshape(())
    return where(floating("prelu", input) > 0, input, input * weight)


@takes_out
@method()
def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x where |x| > λ, 0 elsewhere."""
    return where(floating("hardshrink", input).abs() <= lambd, 0.0, input)
