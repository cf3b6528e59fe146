"""The Wishart distribution."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from numbers import Number
from typing import Any

from torchlite import linalg
from torchlite._tensor import Tensor
from torchlite.composites.assembly import broadcast_shapes
from torchlite.composites.elementwise import mvlgamma
from torchlite.distributions import constraints
from torchlite.distributions.chi2 import Chi2
from torchlite.distributions.exp_family import ExponentialFamily
from torchlite.distributions.scale_matrix import HasScaleMatrix, exactly_one_matrix, inverse_of_triangle, log_diagonal
from torchlite.distributions.utils import vec_to_tril_matrix
from torchlite.dtypes import finfo
from torchlite.ops.arithmetic import where
from torchlite.ops.creation import arange, tensor
from torchlite.ops.random import randn
from torchlite.tracing import valid

_TRIES = 10


class Wishart(HasScaleMatrix, ExponentialFamily):
    """Σ xᵢ·xᵢᵀ over ``df`` normal vectors of mean 0 and covariance V, extended to real ``df`` above n - 1.

    Args:
        df: degrees of freedom, a number or of shape (...).
        covariance_matrix, precision_matrix, scale_tril: exactly one of V, V⁻¹ and the Cholesky factor of V, (..., n, n).

    Raises:
        ValueError: for too small a ``df`` and a matrix of too few dimensions.
        AssertionError: when not exactly one matrix is given.
    """

    support = constraints.positive_definite
    has_rsample = True

    def __init__(
        self,
        df: Any,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        given = exactly_one_matrix(
            covariance_matrix=covariance_matrix, precision_matrix=precision_matrix, scale_tril=scale_tril
        )
        if given is None:
            raise AssertionError("Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified.")
        name, matrix = given
        if matrix.ndim < 2:
            raise ValueError(f"{name} must be at least two-dimensional, with optional leading batch dimensions")
        if isinstance(df, Number):
            df = tensor(df, dtype=matrix.dtype, device=matrix.device)
        batch_shape = broadcast_shapes(matrix.shape[:-2], df.shape)
        self.df = df.expand(batch_shape)
        n = matrix.shape[-1]
        if not valid(~(self.df <= n - 1).any()):
            raise ValueError(f"Value of df={df} expected to be greater than ndim - 1 = {n - 1}.")
        if not valid(~(self.df < n).any()):
            warnings.warn(
                "Low df values detected. Singular samples are highly likely to occur for ndim - 1 < df < ndim.",
                stacklevel=2,
            )
        self._set_matrix(name, matrix, batch_shape)
        super().__init__(batch_shape, matrix.shape[-2:], validate_args)
        self._set_factor()

    @property
    def arg_constraints(self) -> Mapping[str, constraints.Constraint]:
        """``df`` is above n - 1."""
        return {**self.matrix_constraints, "df": constraints.greater_than(self.event_shape[-1] - 1)}

    @property
    def mean(self) -> Tensor:
        """df·V."""
        return self._over_matrices(self.df) * self.covariance_matrix

    @property
    def mode(self) -> Tensor:
        """(df - n - 1)·V; NaN where that factor is not positive."""
        factor = self.df - self._event_shape[-1] - 1
        return self._over_matrices(factor.masked_fill(factor <= 0, math.nan)) * self.covariance_matrix

    @property
    def variance(self) -> Tensor:
        """df·(Vᵢⱼ² + Vᵢᵢ·Vⱼⱼ)."""
        v = self.covariance_matrix
        diagonal = v.diagonal(dim1=-2, dim2=-1)
        return self._over_matrices(self.df) * (v.square() + diagonal.unsqueeze(-1) * diagonal.unsqueeze(-2))

    def _over_matrices(self, x: Tensor) -> Tensor:
        return x.unsqueeze(-1).unsqueeze(-1)

    def rsample(self, sample_shape: Any = (), max_try_correction: int | None = None) -> Tensor:
        """Random matrices by Bartlett's decomposition, with gradients.

        Those that rounding makes singular are drawn again up to ``max_try_correction`` times (10 by default).
        """
        sample = self._bartlett(sample_shape)
        singular = ~self.support.check(sample.detach())
        if not valid(~singular.any()):
            warnings.warn("Singular sample detected.", stacklevel=2)
            for _ in range(_TRIES if max_try_correction is None else max_try_correction):
                sample = where(self._over_matrices(singular), self._bartlett(sample_shape), sample)
                singular = ~self.support.check(sample.detach())
                if not bool(singular.any()):
                    break
        return sample

    def _bartlett(self, sample_shape: Any) -> Tensor:
        """(L·A)·(L·A)ᵀ where A has roots of chi-squared numbers on its diagonal and normal numbers below."""
        n = self._event_shape[-1]
        place: dict[str, Any] = {"dtype": self._factor.dtype, "device": self._factor.device}
        freedom = self.df.unsqueeze(-1) - arange(n, **place)
        roots = Chi2(freedom, validate_args=False).rsample(sample_shape).sqrt()
        diagonal = roots.clamp(min=finfo(roots.dtype).eps).diag_embed()
        below = randn((*sample_shape, *self._batch_shape, n * (n - 1) // 2), **place)
        factor = self._factor @ (diagonal + (vec_to_tril_matrix(below, diag=-1) if n > 1 else 0))
        return factor @ factor.mT

    def log_prob(self, value: Tensor) -> Tensor:
        """½(df - n - 1)·log det X - ½tr(V⁻¹·X) - ½df·(n·log 2 + log det V) - log Γₙ(½df)."""
        self._validate_sample(value)
        n = self._event_shape[-1]
        inverse = inverse_of_triangle(self._factor)
        trace = ((inverse.mT @ inverse) * value).sum((-2, -1))
        normaliser = self.df * (n * math.log(2) / 2 + log_diagonal(self._factor)) + mvlgamma(self.df / 2, n)
        return (self.df - n - 1) / 2 * linalg.slogdet(value).logabsdet - trace / 2 - normaliser

    def entropy(self) -> Tensor:
        """½(n + 1)·(log det V + n·log 2) + log Γₙ(½df) - ½(df - n - 1)·ψₙ(½df) + ½df·n."""
        n = self._event_shape[-1]
        scale = (n + 1) * (n * math.log(2) / 2 + log_diagonal(self._factor))
        half = self.df / 2
        return scale + mvlgamma(half, n) - (self.df - n - 1) / 2 * mvdigamma(half, n) + half * n


def mvdigamma(x: Tensor, n: int) -> Tensor:
    """The derivative of log Γₙ(x): Σ ψ(x - i/2) over i below n."""
    return (x.unsqueeze(-1) - arange(n, dtype=x.dtype, device=x.device) / 2).digamma().sum(-1)
