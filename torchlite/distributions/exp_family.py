"""Exponential families."""

from __future__ import annotations

from typing import Any

from torchlite._tensor import Tensor
from torchlite.autograd.engine import grad
from torchlite.distributions.distribution import Distribution
from torchlite.distributions.utils import sum_rightmost


class ExponentialFamily(Distribution):
    """Distributions of density exp(⟨t(x), θ⟩ - F(θ) + k(x)).

    A family may give its natural parameters θ as ``_natural_params``, F as ``_log_normalizer`` and the expectation of
    k(x) as ``_mean_carrier_measure``; entropy and divergence then follow from the gradient of F (Nielsen and Nock,
    "Entropies and cross-entropies of exponential families", 2010).
    """

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        raise self._lacks("_natural_params")

    def _log_normalizer(self, *_natural_params: Tensor) -> Tensor:
        raise self._lacks("_log_normalizer")

    @property
    def _mean_carrier_measure(self) -> Any:
        raise self._lacks("_mean_carrier_measure")

    def entropy(self) -> Tensor:
        """F(θ) - ⟨θ, ∇F(θ)⟩ - E k(x)."""
        carrier = self._mean_carrier_measure
        natural, normalizer, slopes = self._log_normalizer_and_slopes()
        result = normalizer - carrier
        for parameter, slope in zip(natural, slopes, strict=True):
            result = result - sum_rightmost(parameter * slope, len(self._event_shape))
        return result

    def _log_normalizer_and_slopes(self) -> tuple[list[Tensor], Tensor, Any]:
        natural = [p.detach().requires_grad_() for p in self._natural_params]
        normalizer = self._log_normalizer(*natural)
        return natural, normalizer, grad(normalizer.sum(), natural, create_graph=True)
