"""Transforms of vectors and matrices: onto the simplex, Cholesky factors and positive definite matrices."""

from __future__ import annotations

import math
from typing import Any

from torchlite import linalg
from torchlite._tensor import Tensor
from torchlite.distributions import constraints
from torchlite.distributions.transforms.elementwise import inside_unit_interval
from torchlite.distributions.transforms.transform import Shape, Transform
from torchlite.distributions.utils import tril_matrix_to_vec, vec_to_tril_matrix
from torchlite.dtypes import finfo
from torchlite.nn.functional import logsigmoid, pad
from torchlite.ops.creation import arange, eye
from torchlite.ops.softmax import softmax


class _WithoutParameters(Transform):
    def _same(self, other: Any) -> bool:  # noqa: ARG002
        return True


def _checked(shape: Shape, ndim: int) -> Shape:
    if len(shape) < ndim:
        raise ValueError("Too few dimensions on input")
    return shape


class SoftmaxTransform(_WithoutParameters):
    """y = exp(x) / Σ exp(x) over the last dimension; not bijective, its inverse is taken to be log y."""

    domain = constraints.real_vector
    codomain = constraints.simplex

    def _call(self, x: Tensor) -> Tensor:
        return softmax(x, -1)

    def _inverse(self, y: Tensor) -> Tensor:
        return y.log()

    def forward_shape(self, shape: Shape) -> Shape:
        """The same."""
        return _checked(shape, 1)

    inverse_shape = forward_shape


class StickBreakingTransform(_WithoutParameters):
    """Vectors of n numbers onto the simplex of n + 1: each takes a share, by its sigmoid, of what the ones before left.

    The i-th number is lowered by log(n - i), so that zeros give equal parts.
    """

    domain = constraints.real_vector
    codomain = constraints.simplex
    bijective = True

    def _call(self, x: Tensor) -> Tensor:
        share = inside_unit_interval((x - _log_remaining(x)).sigmoid())
        left = (1 - share).cumprod(-1)
        return pad(share, [0, 1], value=1) * pad(left, [1, 0], value=1)

    def _inverse(self, y: Tensor) -> Tensor:
        parts = y[..., :-1]
        # Rounding can make what is left 0 or negative.
        left = (1 - parts.cumsum(-1)).clamp(min=finfo(y.dtype).tiny)
        return parts.log() - left.log() + _log_remaining(parts)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Σ log(yᵢ·(1 - shareᵢ)), where 1 - sigmoid(x) = exp(-x)·sigmoid(x)."""
        shifted = x - _log_remaining(x)
        return (y[..., :-1].log() - shifted + logsigmoid(shifted)).sum(-1)

    def forward_shape(self, shape: Shape) -> Shape:
        """One number more."""
        return (*_checked(shape, 1)[:-1], shape[-1] + 1)

    def inverse_shape(self, shape: Shape) -> Shape:
        """One number less."""
        return (*_checked(shape, 1)[:-1], shape[-1] - 1)


def _log_remaining(x: Tensor) -> Tensor:
    n = x.shape[-1]
    return (n - arange(n, dtype=x.dtype, device=x.device)).log()


class CorrCholeskyTransform(_WithoutParameters):
    """Vectors of n(n - 1)/2 numbers onto Cholesky factors of n×n correlation matrices.

    The numbers fill the triangle below the diagonal. In each row tanh x is the part that a coordinate takes of the
    length 1, less the squares of what the coordinates before took.
    """

    domain = constraints.real_vector
    codomain = constraints.corr_cholesky
    bijective = True

    def _call(self, x: Tensor) -> Tensor:
        eps = finfo(x.dtype).eps
        parts = vec_to_tril_matrix(x.tanh().clamp(min=-1 + eps, max=1 - eps), diag=-1)
        left = (1 - parts.square()).sqrt().cumprod(-1)
        n = parts.shape[-1]
        return (parts + eye(n, dtype=x.dtype, device=x.device)) * pad(left[..., :-1], [1, 0], value=1)

    def _inverse(self, y: Tensor) -> Tensor:
        left = pad(1 - y.square().cumsum(-1)[..., :-1], [1, 0], value=1)
        part = tril_matrix_to_vec(y, diag=-1) / tril_matrix_to_vec(left, diag=-1).sqrt()
        return (part.log1p() - (-part).log1p()) / 2

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """That of the map onto the numbers below the diagonal of the factor."""
        left = tril_matrix_to_vec(1 - y.square().cumsum(-1), diag=-2)
        return left.log().sum(-1) / 2 - 2 * (x - logsigmoid(x * 2) - math.log(2)).sum(-1)

    def forward_shape(self, shape: Shape) -> Shape:
        """(..., n(n - 1)/2) to (..., n, n)."""
        count = _checked(shape, 1)[-1]
        n = round((0.25 + 2 * count) ** 0.5 + 0.5)
        if n * (n - 1) // 2 != count:
            raise ValueError(f"Input is not a flattened lower-diagonal number: {count} numbers")
        return (*shape[:-1], n, n)

    def inverse_shape(self, shape: Shape) -> Shape:
        """(..., n, n) to (..., n(n - 1)/2)."""
        n = _checked(shape, 2)[-1]
        if shape[-2] != n:
            raise ValueError(f"Input is not square: {list(shape)}")
        return (*shape[:-2], n * (n - 1) // 2)


class LowerCholeskyTransform(_WithoutParameters):
    """The lower triangles of matrices, with the exponential of their diagonals."""

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.lower_cholesky

    def _call(self, x: Tensor) -> Tensor:
        return x.tril(-1) + x.diagonal(dim1=-2, dim2=-1).exp().diag_embed()

    def _inverse(self, y: Tensor) -> Tensor:
        return y.tril(-1) + y.diagonal(dim1=-2, dim2=-1).log().diag_embed()


class PositiveDefiniteTransform(_WithoutParameters):
    """L·Lᵀ of the Cholesky factors L that `LowerCholeskyTransform` gives."""

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.positive_definite

    def _call(self, x: Tensor) -> Tensor:
        factor = LowerCholeskyTransform()(x)
        return factor @ factor.mT

    def _inverse(self, y: Tensor) -> Tensor:
        return LowerCholeskyTransform().inv(linalg.cholesky(y))
