"""Linear and bilinear maps."""

from __future__ import annotations

from torchlite._tensor import Tensor
from torchlite.autocasting import autocasts
from torchlite.ir import Autocast
from torchlite.ops import contraction
from torchlite.ops.destination import takes_out

linear = takes_out(contraction.linear)


@autocasts(Autocast("as given", "widest"))
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x₁ᵀ Wₖ x₂ + bₖ for each of the results k.

    Shape:
        - input1: (*, in1), input2: (*, in2), weight: (out, in1, in2), bias: (out,); result: (*, out)

    Raises:
        RuntimeError: naming the shapes where they do not fit.
    """
    if input1.shape[:-1] != input2.shape[:-1]:
        raise RuntimeError(
            f"bilinear(): input batch dimensions do not match: got {list(input1.shape)} and {list(input2.shape)}"
        )
    if weight.ndim != 3 or (input1.shape[-1], input2.shape[-1]) != tuple(weight.shape[1:]):
        raise RuntimeError(
            f"bilinear(): inputs with {input1.shape[-1]} and {input2.shape[-1]} features do not fit the weight "
            f"{list(weight.shape)}"
        )
    if bias is not None and tuple(bias.shape) != (weight.shape[0],):
        raise RuntimeError(f"bilinear(): bias {list(bias.shape)} does not fit the weight {list(weight.shape)}")
    out, in1, in2 = weight.shape
    rows = input1.reshape(-1, in1) @ weight.transpose(0, 1).reshape(in1, out * in2)
    result = (rows.reshape(*input1.shape[:-1], out, in2) @ input2.unsqueeze(-1)).squeeze(-1)
    return result if bias is None else result + bias
