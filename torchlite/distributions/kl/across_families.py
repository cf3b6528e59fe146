"""Divergences of distributions of different families: -H(p) - E log q(x), from a few expectations over p.

Log-densities of normal and exponential distributions need mean and variance of p, those of gamma, beta and Pareto
distributions also E log x, that of the Gumbel distribution E exp(-t·x).
"""

from __future__ import annotations

import math
from functools import singledispatch
from typing import Any

from torchlite._tensor import Tensor
from torchlite.distributions.bernoulli import Bernoulli
from torchlite.distributions.beta import Beta
from torchlite.distributions.binomial import Binomial
from torchlite.distributions.continuous_bernoulli import ContinuousBernoulli
from torchlite.distributions.exponential import Exponential
from torchlite.distributions.gamma import Gamma
from torchlite.distributions.gumbel import Gumbel
from torchlite.distributions.kl.registry import register_kl
from torchlite.distributions.laplace import Laplace
from torchlite.distributions.normal import Normal
from torchlite.distributions.pareto import Pareto
from torchlite.distributions.poisson import Poisson
from torchlite.distributions.uniform import Uniform
from torchlite.distributions.utils import LOG_SQRT_2PI, euler_constant
from torchlite.ops.entropy import xlogy


@singledispatch
def mean_log(p: Any) -> Tensor:
    """E log x."""
    raise NotImplementedError(f"E log x of {type(p).__name__}")


@mean_log.register
def _(p: Beta) -> Tensor:
    return p.concentration1.digamma() - (p.concentration1 + p.concentration0).digamma()


@mean_log.register
def _(p: Exponential) -> Tensor:
    return -p.rate.log() - euler_constant


@mean_log.register
def _(p: Pareto) -> Tensor:
    return p.scale.log() + p.alpha.reciprocal()


@mean_log.register
def _(p: Uniform) -> Tensor:
    return (xlogy(p.high, p.high) - xlogy(p.low, p.low)) / (p.high - p.low) - 1


@singledispatch
def laplace_transform(p: Any, t: Tensor) -> Tensor:
    """E exp(-t·x)."""
    raise NotImplementedError(f"E exp(-t·x) of {type(p).__name__}")


@laplace_transform.register
def _(p: Exponential, t: Tensor) -> Tensor:
    return p.rate / (p.rate + t)


@laplace_transform.register
def _(p: Gamma, t: Tensor) -> Tensor:
    return (1 + t / p.rate) ** -p.concentration


@laplace_transform.register
def _(p: Normal, t: Tensor) -> Tensor:
    return ((p.scale * t) ** 2 / 2 - p.loc * t).exp()


@laplace_transform.register
def _(p: Uniform, t: Tensor) -> Tensor:
    return ((-p.low * t).exp() - (-p.high * t).exp()) / (t * (p.high - p.low))


def _register(families: tuple[type, ...], q: type, rule: Any) -> None:
    for family in families:
        register_kl(family, q)(rule)


def _to_normal(p: Any, q: Any) -> Tensor:
    spread = (p.variance + (p.mean - q.loc) ** 2) / (2 * q.scale**2)
    return spread + q.scale.log() + LOG_SQRT_2PI - p.entropy()


def _to_exponential(p: Any, q: Any) -> Tensor:
    return q.rate * p.mean - q.rate.log() - p.entropy()


def _to_gamma(p: Any, q: Any) -> Tensor:
    a = q.concentration
    return a.lgamma() - a * q.rate.log() - (a - 1) * mean_log(p) + q.rate * p.mean - p.entropy()


def _to_gumbel(p: Any, q: Any) -> Tensor:
    exponential = (q.loc / q.scale).exp() * laplace_transform(p, q.scale.reciprocal())
    return q.scale.log() + (p.mean - q.loc) / q.scale + exponential - p.entropy()


def _to_continuous_bernoulli(p: Any, q: Any) -> Tensor:
    return -p.mean * q.logits - (-q.probs).log1p() - q._cont_bern_log_norm() - p.entropy()


def _to_uniform(p: Any, q: Any) -> Tensor:
    return (q.high - q.low).log() - p.entropy()


_register((Beta, ContinuousBernoulli, Exponential, Gamma, Gumbel, Laplace, Pareto, Uniform), Normal, _to_normal)
_register((Beta, ContinuousBernoulli, Gamma, Pareto), Exponential, _to_exponential)
_register((Beta, Exponential, Pareto), Gamma, _to_gamma)
_register((Exponential, Gamma, Normal, Uniform), Gumbel, _to_gumbel)
_register((Beta,), ContinuousBernoulli, _to_continuous_bernoulli)


@register_kl(Normal, Laplace)
def _normal_to_laplace(p: Any, q: Any) -> Tensor:
    shift = p.loc - q.loc
    ratio = shift / p.scale
    distance = math.sqrt(2 / math.pi) * p.scale * (-0.5 * ratio**2).exp() + shift * (math.sqrt(0.5) * ratio).erf()
    return distance / q.scale + (2 * q.scale).log() - p.entropy()


@register_kl(Beta, Uniform)
def _beta_to_uniform(p: Any, q: Any) -> Tensor:
    return _to_uniform(p, q).masked_fill((q.low > 0) | (q.high < 1), math.inf)


@register_kl(ContinuousBernoulli, Uniform)
def _continuous_bernoulli_to_uniform(p: Any, q: Any) -> Tensor:
    return _to_uniform(p, q).masked_fill((q.low >= 0) | (q.high <= 1), math.inf)


@register_kl(Uniform, ContinuousBernoulli)
def _uniform_to_continuous_bernoulli(p: Any, q: Any) -> Tensor:
    return _to_continuous_bernoulli(p, q).masked_fill((p.high >= 1) | (p.low <= 0), math.inf)


@register_kl(Uniform, Exponential)
def _uniform_to_exponential(p: Any, q: Any) -> Tensor:
    return _to_exponential(p, q).masked_fill(p.low < 0, math.inf)


@register_kl(Uniform, Gamma)
def _uniform_to_gamma(p: Any, q: Any) -> Tensor:
    return _to_gamma(p, q).masked_fill(p.low < 0, math.inf)


@register_kl(Uniform, Pareto)
def _uniform_to_pareto(p: Any, q: Any) -> Tensor:
    result = (q.alpha + 1) * mean_log(p) - q.alpha.log() - q.alpha * q.scale.log() - p.entropy()
    return result.masked_fill(p.low < q.scale, math.inf)


@register_kl(Uniform, Beta)
def _uniform_to_beta(p: Any, q: Any) -> Tensor:
    a, b = q.concentration1, q.concentration0
    rest = Uniform(1 - p.high, 1 - p.low, validate_args=False)
    normaliser = a.lgamma() + b.lgamma() - (a + b).lgamma()
    result = normaliser - (a - 1) * mean_log(p) - (b - 1) * mean_log(rest) - p.entropy()
    return result.masked_fill((p.high > 1) | (p.low < 0), math.inf)


@register_kl(Bernoulli, Poisson)
def _bernoulli_to_poisson(p: Any, q: Any) -> Tensor:
    return q.rate - p.probs * q.rate.log() - p.entropy()


def _infinite(p: Any, _q: Any) -> Tensor:
    """p gives values that q never does."""
    return p.mean.new_full(p.batch_shape, math.inf)


_BOUNDED: tuple[type, ...] = (Beta, ContinuousBernoulli, Pareto, Uniform)
for _q in _BOUNDED:
    _register((Exponential, Gamma), _q, _infinite)
for _q in (*_BOUNDED, Exponential, Gamma):
    _register((Gumbel, Laplace, Normal), _q, _infinite)
for _q in (Beta, ContinuousBernoulli, Uniform):
    _register((Pareto,), _q, _infinite)
_register((Beta, ContinuousBernoulli), Pareto, _infinite)
for _q in (Bernoulli, Binomial):
    _register((Poisson,), _q, _infinite)
