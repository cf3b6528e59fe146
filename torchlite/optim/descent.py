"""The direction from which most rules start."""

from __future__ import annotations

from torchlite._tensor import Tensor
from torchlite.optim.options import Options


def descent(param: Tensor, grad: Tensor, options: Options) -> Tensor:
    """The gradient g with the weight decay, λ, that has to go into it.

    g ← ∇θ  (-∇θ to ``maximize``)
    g ← g + λ θ                        an L2 penalty,
    or θ ← θ - lr λ θ                  where ``decoupled_weight_decay`` shrinks the parameter by itself
    """
    g = -grad if options["maximize"] else grad
    decay = options["weight_decay"]
    if options.get("decoupled_weight_decay"):
        if isinstance(decay, Tensor) or decay:
            param.mul_(1 - options["lr"] * decay)
    elif isinstance(decay, Tensor):
        g = g + param.clone() * decay  # backward reads the parameter, which is about to change
    elif decay:
        g = g + param * decay
    return g
