"""The Kullback–Leibler divergence of pairs of distributions that have a closed form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from torchlite._tensor import Tensor
from torchlite.distributions.bernoulli import Bernoulli, Geometric
from torchlite.distributions.categorical import Categorical, OneHotCategorical
from torchlite.distributions.distribution import Distribution, sum_rightmost
from torchlite.distributions.exponential import Exponential
from torchlite.distributions.independent import Independent
from torchlite.distributions.laplace import Laplace
from torchlite.distributions.normal import HalfNormal, Normal
from torchlite.distributions.transformed_distribution import LogNormal
from torchlite.distributions.uniform import Uniform
from torchlite.nn.functional import softplus

F = TypeVar("F", bound=Callable[..., Tensor])
_RULES: dict[tuple[type, type], Callable[..., Tensor]] = {}


def register_kl(type_p: type, type_q: type) -> Callable[[F], F]:
    """Use the decorated function of ``(p, q)`` for these classes and their subclasses."""

    def enter(function: F) -> F:
        _RULES[type_p, type_q] = function
        return function

    return enter


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """∫ p(x)·log(p(x) / q(x)) dx.

    Raises:
        NotImplementedError: for a pair of classes that no rule was registered for with `register_kl`.
    """
    for class_p in type(p).__mro__:
        for class_q in type(q).__mro__:
            if (class_p, class_q) in _RULES:
                return _RULES[class_p, class_q](p, q)
    raise NotImplementedError(
        f"No KL(p || q) is implemented for p type {type(p).__name__} and q type {type(q).__name__}"
    )


@register_kl(Normal, Normal)
def _normals(p: Any, q: Any) -> Tensor:
    ratio = (p.scale / q.scale) ** 2
    distance = ((p.loc - q.loc) / q.scale) ** 2
    return (ratio + distance - 1 - ratio.log()) * 0.5


@register_kl(LogNormal, LogNormal)
def _log_normals(p: Any, q: Any) -> Tensor:
    return _normals(p.base_dist, q.base_dist)


@register_kl(HalfNormal, HalfNormal)
def _half_normals(p: Any, q: Any) -> Tensor:
    ratio = (p.scale / q.scale) ** 2
    return (ratio - 1 - ratio.log()) * 0.5


@register_kl(Bernoulli, Bernoulli)
def _bernoullis(p: Any, q: Any) -> Tensor:
    success = p.probs * (softplus(-q.logits) - softplus(-p.logits))
    return success + (1 - p.probs) * (softplus(q.logits) - softplus(p.logits))


@register_kl(Geometric, Geometric)
def _geometrics(p: Any, q: Any) -> Tensor:
    return -p.entropy() - (-q.probs).log1p() / p.probs - q.logits


@register_kl(Categorical, Categorical)
@register_kl(OneHotCategorical, OneHotCategorical)
def _categoricals(p: Any, q: Any) -> Tensor:
    terms = p.probs * (p.logits - q.logits)
    terms = terms.masked_fill((q.probs == 0).expand(terms.shape), float("inf"))
    result: Tensor = terms.masked_fill((p.probs == 0).expand(terms.shape), 0.0).sum(-1)
    return result


@register_kl(Exponential, Exponential)
def _exponentials(p: Any, q: Any) -> Tensor:
    ratio = q.rate / p.rate
    return ratio - ratio.log() - 1


@register_kl(Laplace, Laplace)
def _laplaces(p: Any, q: Any) -> Tensor:
    ratio = p.scale / q.scale
    distance = (p.loc - q.loc).abs()
    return distance / q.scale - ratio.log() + ratio * (-distance / p.scale).exp() - 1


@register_kl(Uniform, Uniform)
def _uniforms(p: Any, q: Any) -> Tensor:
    result: Tensor = ((q.high - q.low) / (p.high - p.low)).log()
    return result.masked_fill((q.low > p.low) | (q.high < p.high), float("inf"))


@register_kl(Independent, Independent)
def _independents(p: Any, q: Any) -> Tensor:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError("KL of Independent distributions with different reinterpreted_batch_ndims")
    return sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)
