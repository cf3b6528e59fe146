"""Divergences of two distributions of one family of single numbers, categories or points of the simplex."""

from __future__ import annotations

import math
from typing import Any

from torchlite._tensor import Tensor
from torchlite.distributions.bernoulli import Bernoulli
from torchlite.distributions.beta import Beta
from torchlite.distributions.binomial import Binomial
from torchlite.distributions.categorical import Categorical
from torchlite.distributions.cauchy import Cauchy
from torchlite.distributions.continuous_bernoulli import ContinuousBernoulli
from torchlite.distributions.dirichlet import Dirichlet
from torchlite.distributions.exp_family import ExponentialFamily
from torchlite.distributions.exponential import Exponential
from torchlite.distributions.gamma import Gamma
from torchlite.distributions.geometric import Geometric
from torchlite.distributions.gumbel import Gumbel
from torchlite.distributions.half_normal import HalfNormal
from torchlite.distributions.independent import Independent
from torchlite.distributions.kl.registry import kl_divergence, register_kl
from torchlite.distributions.laplace import Laplace
from torchlite.distributions.normal import Normal
from torchlite.distributions.one_hot_categorical import OneHotCategorical
from torchlite.distributions.pareto import Pareto
from torchlite.distributions.poisson import Poisson
from torchlite.distributions.transformed_distribution import TransformedDistribution
from torchlite.distributions.uniform import Uniform
from torchlite.distributions.utils import euler_constant, sum_rightmost
from torchlite.nn.functional import logsigmoid
from torchlite.tracing import valid


@register_kl(Bernoulli, Bernoulli)
def _bernoullis(p: Any, q: Any) -> Tensor:
    success = p.probs * (logsigmoid(p.logits) - logsigmoid(q.logits))
    failure = (1 - p.probs) * (logsigmoid(-p.logits) - logsigmoid(-q.logits))
    return _where_possible(success, p.probs, q.probs) + _where_possible(failure, 1 - p.probs, 1 - q.probs)


def _where_possible(terms: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """p·log(p / q): infinite where only q is 0, and 0 where p is."""
    terms = terms.masked_fill((q == 0).expand(terms.shape), math.inf)
    return terms.masked_fill((p == 0).expand(terms.shape), 0.0)


@register_kl(Categorical, Categorical)
def _categoricals(p: Any, q: Any) -> Tensor:
    return _where_possible(p.probs * (p.logits - q.logits), p.probs, q.probs).sum(-1)


@register_kl(OneHotCategorical, OneHotCategorical)
def _one_hots(p: Any, q: Any) -> Tensor:
    return _categoricals(p._categorical, q._categorical)


@register_kl(Binomial, Binomial)
def _binomials(p: Any, q: Any) -> Tensor:
    if not valid((p.total_count >= q.total_count).all()):
        raise NotImplementedError("KL between Binomials where q.total_count > p.total_count is not implemented")
    one_try = p.probs * (p.logits - q.logits) + (-p.probs).log1p() - (-q.probs).log1p()
    return (p.total_count * one_try).masked_fill(p.total_count > q.total_count, math.inf)


@register_kl(Geometric, Geometric)
def _geometrics(p: Any, q: Any) -> Tensor:
    return -p.entropy() - (-q.probs).log1p() / p.probs - q.logits


@register_kl(Poisson, Poisson)
def _poissons(p: Any, q: Any) -> Tensor:
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


@register_kl(ContinuousBernoulli, ContinuousBernoulli)
def _continuous_bernoullis(p: Any, q: Any) -> Tensor:
    constants = [d._cont_bern_log_norm() + (-d.probs).log1p() for d in (p, q)]
    return p.mean * (p.logits - q.logits) + constants[0] - constants[1]


@register_kl(Dirichlet, Dirichlet)
def _dirichlets(p: Any, q: Any) -> Tensor:
    a, b = p.concentration, q.concentration
    total = a.sum(-1)
    constants = total.lgamma() - b.sum(-1).lgamma() - (a.lgamma() - b.lgamma()).sum(-1)
    return constants + ((a - b) * (a.digamma() - total.digamma().unsqueeze(-1))).sum(-1)


@register_kl(Beta, Beta)
def _betas(p: Any, q: Any) -> Tensor:
    return _dirichlets(p._dirichlet, q._dirichlet)


@register_kl(Gamma, Gamma)
def _gammas(p: Any, q: Any) -> Tensor:
    a, b = p.concentration, q.concentration
    shapes = b.lgamma() - a.lgamma() + (a - b) * a.digamma()
    return shapes + b * (p.rate / q.rate).log() + (q.rate - p.rate) * (a / p.rate)


@register_kl(Exponential, Exponential)
def _exponentials(p: Any, q: Any) -> Tensor:
    ratio = q.rate / p.rate
    return ratio - ratio.log() - 1


@register_kl(Normal, Normal)
def _normals(p: Any, q: Any) -> Tensor:
    ratio = (p.scale / q.scale) ** 2
    distance = ((p.loc - q.loc) / q.scale) ** 2
    return (ratio + distance - 1 - ratio.log()) * 0.5


@register_kl(HalfNormal, HalfNormal)
def _half_normals(p: Any, q: Any) -> Tensor:
    return _normals(p.base_dist, q.base_dist)


@register_kl(Laplace, Laplace)
def _laplaces(p: Any, q: Any) -> Tensor:
    ratio = p.scale / q.scale
    distance = (p.loc - q.loc).abs()
    return distance / q.scale - ratio.log() + ratio * (-distance / p.scale).exp() - 1


@register_kl(Cauchy, Cauchy)
def _cauchys(p: Any, q: Any) -> Tensor:
    square = (p.scale + q.scale) ** 2 + (p.loc - q.loc) ** 2
    return square.log() - (4 * p.scale * q.scale).log()


@register_kl(Gumbel, Gumbel)
def _gumbels(p: Any, q: Any) -> Tensor:
    ratio, shift = p.scale / q.scale, (q.loc - p.loc) / q.scale
    return -ratio.log() - shift + (shift + (1 + ratio).lgamma()).exp() + (ratio - 1) * euler_constant - 1


@register_kl(Pareto, Pareto)
def _paretos(p: Any, q: Any) -> Tensor:
    ratio = q.alpha / p.alpha
    result = q.alpha * (p.scale / q.scale).log() - ratio.log() + ratio - 1
    return result.masked_fill(p.scale < q.scale, math.inf)


@register_kl(Uniform, Uniform)
def _uniforms(p: Any, q: Any) -> Tensor:
    result = ((q.high - q.low) / (p.high - p.low)).log()
    return result.masked_fill((q.low > p.low) | (q.high < p.high), math.inf)


@register_kl(ExponentialFamily, ExponentialFamily)
def _exponential_families(p: Any, q: Any) -> Tensor:
    """F(θq) - F(θp) - ⟨θq - θp, ∇F(θp)⟩."""
    if type(p) is not type(q):
        raise NotImplementedError(
            "The cross KL-divergence between different exponential families cannot be computed using Bregman divergences"
        )
    natural, normalizer, slopes = p._log_normalizer_and_slopes()
    result = q._log_normalizer(*q._natural_params) - normalizer
    for own, other, slope in zip(natural, q._natural_params, slopes, strict=True):
        result = result - sum_rightmost((other - own) * slope, len(q.event_shape))
    return result


@register_kl(TransformedDistribution, TransformedDistribution)
def _transformed(p: Any, q: Any) -> Tensor:
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError("KL of distributions with different transforms or event shapes is not implemented")
    return kl_divergence(p.base_dist, q.base_dist)


@register_kl(Independent, Independent)
def _independents(p: Any, q: Any) -> Tensor:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError("KL of Independents of different reinterpreted_batch_ndims is not implemented")
    return sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)
