"""Divergences of multivariate normal and of Wishart distributions."""

from __future__ import annotations

from typing import Any

from torchlite import linalg
from torchlite._tensor import Tensor
from torchlite.composites.elementwise import mvlgamma
from torchlite.distributions.kl.registry import register_kl
from torchlite.distributions.lowrank_multivariate_normal import LowRankMultivariateNormal
from torchlite.distributions.multivariate_normal import MultivariateNormal
from torchlite.distributions.scale_matrix import log_diagonal, squared_length
from torchlite.distributions.wishart import Wishart, mvdigamma


@register_kl(MultivariateNormal, MultivariateNormal)
@register_kl(MultivariateNormal, LowRankMultivariateNormal)
@register_kl(LowRankMultivariateNormal, MultivariateNormal)
@register_kl(LowRankMultivariateNormal, LowRankMultivariateNormal)
def _normals(p: Any, q: Any) -> Tensor:
    """½(log det Σq - log det Σp + tr(Σq⁻¹·Σp) + (μq - μp)ᵀ·Σq⁻¹·(μq - μp) - n)."""
    if p.event_shape != q.event_shape:
        raise ValueError(
            "KL-divergence between two (Low Rank) Multivariate Normals with different event shapes cannot be computed: "
            f"{p.event_shape} and {q.event_shape}"
        )
    determinants = _log_determinant(q) - _log_determinant(p)
    trace = sum(_trace_with_inverse(q, root) for root in _roots(p))
    return 0.5 * (determinants + trace + _squared_distance(q, q.loc - p.loc) - p.event_shape[0])


def _log_determinant(d: Any) -> Tensor:
    return d.log_determinant() if isinstance(d, LowRankMultivariateNormal) else 2 * log_diagonal(d._factor)


def _squared_distance(d: Any, x: Tensor) -> Tensor:
    return d.squared_distance(x) if isinstance(d, LowRankMultivariateNormal) else squared_length(d._factor, x)


def _roots(d: Any) -> tuple[Tensor, ...]:
    """Matrices of which the products with their transposes sum to the covariance."""
    return (d._factor, d._diag.sqrt().diag_embed()) if isinstance(d, LowRankMultivariateNormal) else (d._factor,)


def _trace_with_inverse(d: Any, root: Tensor) -> Tensor:
    """tr(Σ⁻¹·R·Rᵀ)."""
    if not isinstance(d, LowRankMultivariateNormal):
        return linalg.solve_triangular(d._factor, root, upper=False).square().sum((-2, -1))
    half = linalg.solve_triangular(d._capacitance_tril, d._scaled_factor() @ root, upper=False)
    return (root * d._diag.rsqrt().unsqueeze(-1)).square().sum((-2, -1)) - half.square().sum((-2, -1))


@register_kl(Wishart, Wishart)
def _wisharts(p: Any, q: Any) -> Tensor:
    """Of the normalisers, and of E log det X and E X that the log-density of q needs."""
    n = p.event_shape[-1]
    determinants = log_diagonal(q._factor) - log_diagonal(p._factor)
    trace = linalg.solve_triangular(q._factor, p._factor, upper=False).square().sum((-2, -1))
    gammas = mvlgamma(q.df / 2, n) - mvlgamma(p.df / 2, n) + (p.df - q.df) / 2 * mvdigamma(p.df / 2, n)
    return q.df * determinants + p.df / 2 * (trace - n) + gammas
