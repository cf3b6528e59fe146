"""How beta and Dirichlet samples move with their parameters: gradients by implicit reparameterisation.

A sample x of the distribution function F(x; a, b) keeps its quantile when a changes, so dx/da = -(∂F/∂a) / (∂F/∂x)
(Figurnov, Mohamed and Mnih, "Implicit reparameterization gradients", 2018). With t the sigmoid of l, the density of l is
p(l) ∝ tᵃ(1 - t)ᵇ, and

    dx/da = x(1 - x) · ∫ (ln t(l + v) - E ln t)·p(l + v) / p(l) dv

over v from 0 to +∞ where ln x is above the mean E ln t, to -∞ where it is below, so that nothing cancels: the first
factor has one sign. Parameters below 1, whose integrals stretch over very different lengths, are first raised by 1 with
the recurrences of the incomplete beta function. The quadrature is double-exponential (Takahasi and Mori, 1974), accurate
to about 1e-8, and written with tensor operators, so that gradients of any order exist.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.ops.arithmetic import where
from torchlite.ops.gamma import digamma

_STEP = 0.1


def dirichlet_gradient(g: Tensor, sample: Tensor, concentration: Tensor) -> Tensor:
    """The cotangent of the concentrations of Dirichlet samples from the cotangent ``g`` of the samples.

    Coordinate i is a beta number of αᵢ and Σα - αᵢ; the others share what it gives or takes in proportion.
    """
    slope = beta_gradient(sample, concentration, concentration.sum(-1, True))
    return slope * (g - (sample * g).sum(-1, True))


def beta_gradient(sample: Tensor, concentration: Tensor, total: Tensor) -> Tensor:
    """Derivatives of beta numbers by ``concentration``, with ``total - concentration`` held, over 1 - sample.

    PyTorch's ``_dirichlet_grad``.
    """
    x = sample.to(dtypes.float64).clamp(max=1 - 2.0**-52)
    given = concentration.to(dtypes.float64)
    other = (total.to(dtypes.float64) - given).clamp(min=1e-300)
    small, small_other = given.detach() < 1, other.detach() < 1
    a, b = where(small, given + 1, given), where(small_other, other + 1, other)
    above_mean = x.log() - (digamma(a) - digamma(a + b))
    side = where(above_mean.detach() < 0, -above_mean.new_ones(()), 1.0)
    scale = side / ((a * (1 - x) - b * x).abs() + ((a + b) * x * (1 - x)).sqrt()).detach()

    def integrand(v: Tensor) -> Tensor:
        log_ratio = -((1 - x) * (-v).expm1()).log1p()  # ln t / x
        return (log_ratio + above_mean) * ((a + b) * log_ratio - b * v).exp()

    slope = x * _half_line(integrand, scale)
    fall = x.log() + digamma(a + other) - digamma(a)
    slope = where(small_other, (1 - x) * (a + other) / other * slope + x / other * fall, slope)
    fall = x.log() + digamma(given + other) - digamma(given + 1)
    slope = where(small, x * (given + other) / given * slope - x / given * fall, slope)
    return slope.to(sample.dtype)


def _half_line(integrand: Callable[[Tensor], Tensor], scale: Tensor) -> Tensor:
    """∫ integrand(v) dv from 0 to ∞ or, where ``scale`` is negative, -∞; |scale| is about how far it reaches."""
    total: Tensor = scale.new_zeros(())
    for place, weight in _nodes():
        total = total + integrand(scale * place) * weight
    return total * scale


@functools.cache
def _nodes() -> tuple[tuple[float, float], ...]:
    """Places and weights of the trapezoidal rule in t, where the place is exp(t - exp(-t))."""
    ts = [step * _STEP for step in range(-32, 47)]
    places = [math.exp(t - math.exp(-t)) for t in ts]
    return tuple((place, place * (1 + math.exp(-t)) * _STEP) for t, place in zip(ts, places, strict=True))
