"""The continuous Bernoulli distribution."""

from __future__ import annotations

import math
from typing import Any

from torchlite._tensor import Tensor
from torchlite.distributions import constraints
from torchlite.distributions.exp_family import ExponentialFamily
from torchlite.distributions.probability_parameter import HasProbability
from torchlite.distributions.utils import broadcast_all, clamp_probs, lazy_property, logits_to_probs
from torchlite.nn.functional import binary_cross_entropy_with_logits
from torchlite.ops.arithmetic import where
from torchlite.ops.random import rand


class ContinuousBernoulli(HasProbability, ExponentialFamily):
    """Numbers in [0, 1] of density ∝ pˣ(1 - p)^(1 - x) (Loaiza-Ganem and Cunningham, 2019).

    Args:
        probs, logits: p, or its log-odds.
        lims: between these, around ½, series are used for what is 0 / 0 at ½.
    """

    support = constraints.unit_interval
    has_rsample = True

    def __init__(
        self,
        probs: Any = None,
        logits: Any = None,
        lims: tuple[float, float] = (0.499, 0.501),
        validate_args: bool | None = None,
    ) -> None:
        self._set_probability(probs, logits)
        self._lims = lims
        super().__init__(self.param_shape, (), validate_args)
        if probs is not None:
            self.probs = clamp_probs(self.probs)

    @lazy_property
    def probs(self) -> Tensor:
        """p, held away from 0 and 1."""
        return clamp_probs(logits_to_probs(self.logits, is_binary=True))

    def _away_from_half(self) -> Tensor:
        return (self.probs <= self._lims[0]) | (self.probs > self._lims[1])

    def _safe_probs(self) -> Tensor:
        """``probs``, and the lower limit where series are used."""
        return where(self._away_from_half(), self.probs, self._lims[0])

    def _cont_bern_log_norm(self) -> Tensor:
        """The logarithm of 2·artanh(1 - 2p) / (1 - 2p), by which the density is multiplied."""
        p = self._safe_probs()
        exact = ((-p).log1p() - p.log()).abs().log() - (1 - 2 * p).abs().log()
        square = (self.probs - 0.5) ** 2
        series = math.log(2) + (4 / 3 + 104 / 45 * square) * square
        return where(self._away_from_half(), exact, series)

    @property
    def mean(self) -> Tensor:
        """p / (2p - 1) + 1 / (log(1 - p) - log p)."""
        p = self._safe_probs()
        exact = p / (2 * p - 1) + 1 / ((-p).log1p() - p.log())
        x = self.probs - 0.5
        return where(self._away_from_half(), exact, 0.5 + (1 / 3 + 16 / 45 * x**2) * x)

    @property
    def variance(self) -> Tensor:
        """p(p - 1) / (1 - 2p)² + 1 / (log(1 - p) - log p)²."""
        p = self._safe_probs()
        exact = p * (p - 1) / (1 - 2 * p) ** 2 + 1 / ((-p).log1p() - p.log()) ** 2
        square = (self.probs - 0.5) ** 2
        return where(self._away_from_half(), exact, 1 / 12 - (1 / 15 - 128 / 945 * square) * square)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """The quantiles of uniform numbers."""
        return self.icdf(rand(self._extended_shape(sample_shape), dtype=self.probs.dtype, device=self.probs.device))

    def log_prob(self, value: Tensor) -> Tensor:
        """x·log p + (1 - x)·log(1 - p), and the constant that makes it a density."""
        self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        return self._cont_bern_log_norm() - binary_cross_entropy_with_logits(logits, value, reduction="none")

    def cdf(self, value: Tensor) -> Tensor:
        """(pˣ(1 - p)^(1 - x) + p - 1) / (2p - 1)."""
        self._validate_sample(value)
        p = self._safe_probs()
        exact = (p**value * (1 - p) ** (1 - value) + p - 1) / (2 * p - 1)
        inside = where(self._away_from_half(), exact, value)
        return where(value <= 0, 0.0, where(value >= 1, 1.0, inside))

    def icdf(self, value: Tensor) -> Tensor:
        """(log(1 - p + u(2p - 1)) - log(1 - p)) / (log p - log(1 - p))."""
        p = self._safe_probs()
        exact = ((value * (2 * p - 1) - p).log1p() - (-p).log1p()) / (p.log() - (-p).log1p())
        return where(self._away_from_half(), exact, value)

    def entropy(self) -> Tensor:
        """-mean·log p - (1 - mean)·log(1 - p), less the constant of the density."""
        log_rest = (-self.probs).log1p()
        return self.mean * (log_rest - self.probs.log()) - self._cont_bern_log_norm() - log_rest
