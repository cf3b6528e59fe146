"""Products: powers, the exponential, cross and dot products; matrices made of vectors."""

from __future__ import annotations

from torchlite import dtypes
from torchlite._tensor import Tensor, method
from torchlite.autocasting import autocasts
from torchlite.dispatch import apply
from torchlite.integers import takes_integers
from torchlite.ir import LOWER, Autocast
from torchlite.linalg.checks import same_dtype, square_matrices
from torchlite.linalg.solutions import inv
from torchlite.ops import views
from torchlite.ops.contraction import matmul
from torchlite.ops.creation import eye
from torchlite.ops.destination import takes_out
from torchlite.ops.joining import cat, stack
from torchlite.ops.matrix_exponential import matrix_exp_op


@takes_out
@method()
@takes_integers
def matrix_power(A: Tensor, n: int) -> Tensor:
    """A multiplied with itself n times, by repeated squaring; of the inverse for negative n.

    Raises:
        LinAlgError: for a singular matrix and a negative n.
    """
    square_matrices("linalg.matrix_power", A)
    if n == 0:
        unit = eye(A.shape[-1], dtype=A.dtype, device=A.device)
        return A.masked_fill(A.new_ones((), dtype=dtypes.bool_), 0) + unit
    square = inv(A) if n < 0 else A
    result: Tensor | None = None
    n = abs(n)
    while n:
        if n & 1:
            result = square if result is None else matmul(result, square)
        n >>= 1
        square = matmul(square, square) if n else square
    return A if result is None else result


@method()
def matrix_exp(A: Tensor) -> Tensor:
    """Σ Aⁿ / n!."""
    return apply(matrix_exp_op, (square_matrices("linalg.matrix_exp", A),))


@takes_out
@autocasts(Autocast(cuda="widest"))
def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The cross product of vectors of three elements along ``dim``.

    Raises:
        RuntimeError: when the dimension has another length, or the tensors differ in the number of dimensions.
    """
    if input.ndim != other.ndim:
        raise RuntimeError(
            f"linalg.cross: inputs must have the same number of dimensions, got shapes {list(input.shape)} and "
            f"{list(other.shape)}"
        )
    if input.shape[input._checked_dim(dim)] != 3 or other.shape[dim] != 3:
        raise RuntimeError(
            f"linalg.cross: inputs dimension {dim} must have length 3. Got {input.shape[dim]} and {other.shape[dim]}"
        )
    (a1, a2, a3), (b1, b2, b3) = input.unbind(dim), other.unbind(dim)
    return stack([a2 * b3 - a3 * b2, a3 * b1 - a1 * b3, a1 * b2 - a2 * b1], dim)


@takes_out
@autocasts(LOWER)
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """Σ conj(x) y along ``dim``."""
    if x._data.dtype.kind in "biu":
        raise RuntimeError(f"linalg.vecdot: Expected a floating point or complex tensor as input. Got {x.dtype}")
    same_dtype("linalg.vecdot", x, y, "x", "y")
    if x.ndim == y.ndim == 1:
        return matmul(x.conj(), y)
    product: Tensor = x.conj() * y
    return product.sum(dim)


@takes_integers
def vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """Vandermonde's matrix: the powers 0 to N - 1 of each element along a new last dimension.

    Raises:
        RuntimeError: for booleans, and for N below 2.
    """
    if x._data.dtype.kind == "b":
        raise RuntimeError(f"linalg.vander: supports floating point, complex, and integer tensors, but got {x.dtype}")
    x = x.reshape(1) if x.ndim == 0 else x
    count = x.shape[-1] if N is None else N
    if count <= 1:
        raise RuntimeError(f"linalg.vander: N must be greater than 1, got {count}")
    repeated = x.unsqueeze(-1).expand((*x.shape, count - 1))
    return cat([x.new_ones((*x.shape, 1)), repeated], -1).cumprod(-1)


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonals of matrices, as a view."""
    return views.diagonal(A, offset, dim1, dim2)
