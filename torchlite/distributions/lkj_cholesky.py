"""The LKJ distribution of Cholesky factors of correlation matrices."""

from __future__ import annotations

import math
from typing import Any

from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import no_grad
from torchlite.composites.elementwise import mvlgamma
from torchlite.distributions import constraints
from torchlite.distributions.beta import Beta
from torchlite.distributions.distribution import Distribution
from torchlite.distributions.utils import broadcast_all
from torchlite.dtypes import finfo
from torchlite.ops.creation import arange
from torchlite.ops.random import randn


class LKJCholesky(Distribution):
    """Cholesky factors L of n×n correlation matrices R, whose density is ∝ (det R)^(concentration - 1).

    Lewandowski, Kurowicka and Joe, "Generating random correlation matrices based on vines and extended onion method"
    (2009).

    Args:
        dim: n, at least 2.
        concentration: 1 for uniform R, more for R nearer to the identity.

    Raises:
        ValueError: for a smaller ``dim``.
    """

    arg_constraints = {"concentration": constraints.positive}
    support = constraints.corr_cholesky

    def __init__(self, dim: int, concentration: Any = 1.0, validate_args: bool | None = None) -> None:
        if dim < 2:
            raise ValueError(f"Expected dim to be an integer greater than or equal to 2. Found dim={dim}.")
        self.dim = dim
        (self.concentration,) = broadcast_all(concentration)
        super().__init__(self.concentration.shape, (dim, dim), validate_args)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Random factors by the onion method: rows in random directions, of beta-distributed squared lengths."""
        with no_grad():
            squares = self._row_lengths().sample(sample_shape).unsqueeze(-1)
            shape = self._extended_shape(sample_shape)
            normal = randn(shape, dtype=squares.dtype, device=squares.device).tril(-1)
            length = normal.square().sum(-1, True).sqrt()
            rows = squares.sqrt() * normal / length.masked_fill(length == 0, 1.0)  # the first row is 0
            rest = (1 - rows.square().sum(-1)).clamp(min=finfo(rows.dtype).tiny)
            return rows + rest.sqrt().diag_embed()

    def _row_lengths(self) -> Beta:
        """Of the squared lengths of the rows without the diagonal.

        In row i = 0, 1, … the i numbers w before the diagonal have density ∝ (1 - |w|²)^(concentration - 1 + (n - 1 - i)/2).
        """
        i = arange(self.dim, dtype=self.concentration.dtype, device=self.concentration.device)
        # Row 0 has no such numbers, and gets a length that is not used.
        return Beta(i.clamp(min=1) / 2, self.concentration.unsqueeze(-1) + (self.dim - 1 - i) / 2, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Σ (2·concentration - 2 + n - i)·log Lᵢᵢ over the rows i = 2 … n, less the normaliser."""
        self._validate_sample(value)
        diagonal = value.diagonal(dim1=-1, dim2=-2)[..., 1:]
        row = arange(2, self.dim + 1, device=self.concentration.device)
        order = 2 * (self.concentration - 1).unsqueeze(-1) + self.dim - row
        others = self.dim - 1
        alpha = self.concentration + 0.5 * others
        normaliser = 0.5 * others * math.log(math.pi) + mvlgamma(alpha - 0.5, others) - alpha.lgamma() * others
        return (order * diagonal.log()).sum(-1) - normaliser
