"""The Dirichlet distribution."""

from __future__ import annotations

from typing import Any

from torchlite._tensor import Tensor
from torchlite.distributions import constraints
from torchlite.distributions.exp_family import ExponentialFamily
from torchlite.nn.functional import one_hot
from torchlite.ops.arithmetic import where
from torchlite.ops.entropy import xlogy
from torchlite.ops.variates import sample_dirichlet


class Dirichlet(ExponentialFamily):
    """Points of the simplex of density ∝ Π xᵢ^(αᵢ - 1).

    Raises:
        ValueError: for a concentration without dimensions.
    """

    arg_constraints = {"concentration": constraints.independent(constraints.positive, 1)}
    support = constraints.simplex
    has_rsample = True

    def __init__(self, concentration: Tensor, validate_args: bool | None = None) -> None:
        if concentration.ndim < 1:
            raise ValueError("`concentration` parameter must be at least one-dimensional.")
        self.concentration = concentration
        super().__init__(concentration.shape[:-1], concentration.shape[-1:], validate_args)

    @property
    def mean(self) -> Tensor:
        """αᵢ / Σα."""
        return self.concentration / self.concentration.sum(-1, True)

    @property
    def mode(self) -> Tensor:
        """(αᵢ - 1) / Σ(α - 1), with at least 0 for αᵢ - 1; the corner of the largest α where all are below 1."""
        above = (self.concentration - 1).clamp(min=0.0)
        inside = above / above.sum(-1, True)
        corner = one_hot(inside.argmax(-1), above.shape[-1]).to(above.dtype)
        return where((self.concentration < 1).all(-1, True), corner, inside)

    @property
    def variance(self) -> Tensor:
        """αᵢ(Σα - αᵢ) / ((Σα)²·(Σα + 1))."""
        total = self.concentration.sum(-1, True)
        return self.concentration * (total - self.concentration) / (total**2 * (total + 1))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Random points, with implicit gradients by the concentration."""
        return sample_dirichlet(self.concentration.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        """Σ (αᵢ - 1)·log xᵢ + log Γ(Σα) - Σ log Γ(αᵢ)."""
        self._validate_sample(value)
        a = self.concentration
        return xlogy(a - 1, value).sum(-1) + a.sum(-1).lgamma() - a.lgamma().sum(-1)

    def entropy(self) -> Tensor:
        """Σ log Γ(αᵢ) - log Γ(Σα) - (k - Σα)·ψ(Σα) - Σ (αᵢ - 1)·ψ(αᵢ)."""
        a = self.concentration
        total = a.sum(-1)
        own = a.lgamma().sum(-1) - ((a - 1) * a.digamma()).sum(-1)
        return own - total.lgamma() - (a.shape[-1] - total) * total.digamma()
