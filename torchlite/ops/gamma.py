"""The logarithm of the gamma function, its derivatives, the incomplete gamma functions and Hurwitz' zeta function."""

from __future__ import annotations

from collections.abc import Callable

from torchlite import dtypes
from torchlite._tensor import Tensor, method
from torchlite.backends.special import evaluate
from torchlite.dispatch import apply
from torchlite.integers import takes_integers
from torchlite.ir import Op, Sample, register
from torchlite.ops.construct import binary, not_differentiable, unary
from torchlite.ops.destination import takes_out
from torchlite.ops.mutation import inplace

lgamma = unary(
    "lgamma",
    lambda g, _out, x: g * digamma(x),
    run=lambda xp, x: evaluate(xp, "lgamma", x),
    to_float=True,
    scalar="lgamma(x)",
    domain=(0.5, 4.0),
    doc="ln |Γ(x)|; infinite at 0, -1, -2, ...",
)
digamma: Callable[..., Tensor] = unary(
    "digamma",
    lambda g, _out, x: g * polygamma(1, x),
    run=lambda xp, x: evaluate(xp, "digamma", x),
    to_float=True,
    domain=(0.5, 4.0),
    doc="The derivative of ln Γ(x); infinite at ±0 and NaN at -1, -2, ...",
)
igamma = binary(
    "igamma",
    (
        not_differentiable("igamma", "input"),
        lambda g, _out, x, y: g * ((x - 1) * y.log() - y - x.lgamma()).exp(),
    ),
    run=lambda xp, x, y: evaluate(xp, "igamma", x, y),
    numbers="neither",
    domain=(0.3, 3.0),
    doc="The regularised lower incomplete gamma function: 1/Γ(x) ∫₀ʸ tˣ⁻¹ e⁻ᵗ dt.",
)
igammac = binary(
    "igammac",
    (
        not_differentiable("igammac", "input"),
        lambda g, _out, x, y: -g * ((x - 1) * y.log() - y - x.lgamma()).exp(),
    ),
    run=lambda xp, x, y: evaluate(xp, "igammac", x, y),
    numbers="neither",
    domain=(0.3, 3.0),
    doc="The regularised upper incomplete gamma function: 1/Γ(x) ∫ from y to ∞ of tˣ⁻¹ e⁻ᵗ dt.",
)
zeta: Callable[..., Tensor] = binary(
    "zeta",
    (
        not_differentiable("zeta", "input"),
        lambda g, _out, x, y: g * -x * zeta(x + 1, y),
    ),
    run=lambda xp, x, y: evaluate(xp, "zeta", x, y),
    to_float=True,
    methods=False,
    domain=(1.5, 4.0),
    doc="Hurwitz' zeta function: Σ (y + k)⁻ˣ over k = 0, 1, 2, ..., for x > 1.",
)
_polygamma = register(
    Op(
        "polygamma",
        "elementwise",
        run=lambda xp, x, *, n: evaluate(xp, "polygamma", x, n=n),
        infer=lambda x, *, n: x,  # noqa: ARG005
        vjp=(lambda g, _out, x, n: g * polygamma(n + 1, x),),
        samples=lambda rng: [Sample((rng.uniform(0.5, 4.0, (3, 4)),), {"n": n}) for n in (0, 1, 2)],
        doc="The n-th derivative of digamma.",
    )
)
_standard_gamma_slope = register(
    Op(
        "standard_gamma_grad",
        "elementwise",
        run=lambda xp, x, y: evaluate(xp, "standard_gamma_grad", x, y),
        infer=lambda x, y: x,  # noqa: ARG005
        vjp=(
            not_differentiable("_standard_gamma_grad", "self"),
            lambda g, out, x, y: g * (digamma(x) - y.log() + out - out * (x - 1) / y),
        ),
        samples=lambda rng: [Sample((rng.uniform(0.3, 30.0, (3, 4)), rng.uniform(0.3, 30.0, (3, 4))), {})],
        doc="dy/dx of a sample y of Gamma(x, 1) at a fixed probability: -(∂P/∂x) / (∂P/∂y), P = igamma(x, y).",
    )
)


@takes_out
@takes_integers
def polygamma(n: int, input: Tensor) -> Tensor:
    """The n-th derivative of `digamma`: (-1)ⁿ⁺¹ n! Σ (x + k)⁻ⁿ⁻¹ over k ≥ 0, for n > 0.

    Raises:
        RuntimeError: for a negative ``n``.
    """
    if n < 0:
        raise RuntimeError(f"polygamma(n, x) does not support negative n, got n = {n}")
    if input._data.dtype.kind in "biu":
        input = input.to(dtypes.get_default_dtype())
    return apply(_polygamma, (input,), {"n": n})


@method("polygamma")
def _polygamma_of_self(self: Tensor, n: int) -> Tensor:
    """The n-th derivative of `digamma`."""
    return polygamma(n, self)


method("polygamma_")(inplace(_polygamma_of_self))


def _standard_gamma_grad(self: Tensor, output: Tensor) -> Tensor:
    """The derivative of samples ``output`` of Gamma(self, 1) for the concentration, for reparameterised sampling.

    Shape: both tensors and the result have one shape, and one floating-point dtype.
    """
    return apply(_standard_gamma_slope, (self, output))
