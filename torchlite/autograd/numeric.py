"""Checking gradient rules against finite differences, along random directions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from torchlite._tensor import Tensor, wrap
from torchlite.autograd.engine import grad


class GradcheckError(RuntimeError):
    """A gradient differs from what finite differences say."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Whether backward through ``func`` agrees with finite differences.

    For a random cotangent g and random directions d, compares ⟨∇ₓ⟨g, f(x)⟩, d⟩ with
    (⟨g, f(x + eps·d)⟩ - ⟨g, f(x - eps·d)⟩) / 2eps for each input that requires a gradient. A wrong gradient
    agrees along a random direction with probability 0.

    Args:
        func: a function of tensors that returns a tensor or several.
        inputs: its arguments; those in float64 that require a gradient are checked.
        eps: step of the differences.
        atol, rtol: tolerances.
        raise_exception: raise instead of returning False.

    Raises:
        GradcheckError: naming the input and both values.
    """
    arguments = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    checked = [i for i, x in enumerate(arguments) if isinstance(x, Tensor) and x.requires_grad]
    if not checked:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of the them have requires_grad=True."
        )
    rng = np.random.default_rng(0)
    outs = _floating(func(*arguments))
    cotangents = [wrap(np.asarray(rng.uniform(0.5, 1.5, o.shape))) for o in outs]
    recorded = [(o, g) for o, g in zip(outs, cotangents, strict=True) if o.requires_grad]
    gradients: tuple[Any, ...] = (None,) * len(checked)  # what does not depend on the inputs has gradient 0
    if recorded:
        gradients = grad(
            [o for o, _ in recorded], [arguments[i] for i in checked], [g for _, g in recorded], allow_unused=True
        )

    def inner(x: Any, place: int, direction: Any, step: float) -> float:
        moved = list(arguments)
        moved[place] = wrap(np.asarray(x + step * direction)).requires_grad_()
        return sum(
            float(np.sum(o.detach().numpy() * g.numpy()))
            for o, g in zip(_floating(func(*moved)), cotangents, strict=True)
        )

    for place, gradient in zip(checked, gradients, strict=True):
        x = arguments[place].detach().numpy()
        for _ in range(3):
            direction = rng.choice([-1.0, 1.0], x.shape) * rng.uniform(0.5, 1.0, x.shape)
            numeric = (inner(x, place, direction, eps) - inner(x, place, direction, -eps)) / (2 * eps)
            analytic = 0.0 if gradient is None else float(np.sum(gradient.detach().numpy() * direction))
            if not abs(numeric - analytic) <= atol + rtol * abs(numeric):
                if raise_exception:
                    raise GradcheckError(
                        f"gradient of input {place} (shape {list(x.shape)}): backward gives {analytic:.9g} along a random "
                        f"direction, finite differences give {numeric:.9g}"
                    )
                return False
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    grad_outputs: Tensor | Sequence[Tensor] | None = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Whether backward through the backward of ``func`` agrees with finite differences; see `gradcheck`."""
    arguments = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    checked = [i for i, x in enumerate(arguments) if isinstance(x, Tensor) and x.requires_grad]
    outs = _recorded(func(*arguments))
    rng = np.random.default_rng(1)
    if grad_outputs is None:
        cotangents = [wrap(np.asarray(rng.uniform(0.5, 1.5, o.shape))).requires_grad_() for o in outs]
    else:
        cotangents = [grad_outputs] if isinstance(grad_outputs, Tensor) else list(grad_outputs)

    def first_order(*values: Any) -> tuple[Any, ...]:
        xs, gs = values[: len(arguments)], values[len(arguments) :]
        results = grad(_recorded(func(*xs)), [xs[i] for i in checked], gs, create_graph=True, allow_unused=True)
        return tuple(xs[i] * 0 if r is None else r for i, r in zip(checked, results, strict=True))

    return gradcheck(
        first_order, [*arguments, *cotangents], eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception
    )


def _floating(result: Any) -> list[Tensor]:
    return [o for o in ([result] if isinstance(result, Tensor) else result) if o.is_floating_point()]


def _recorded(result: Any) -> list[Tensor]:
    return [o for o in _floating(result) if o.requires_grad]
