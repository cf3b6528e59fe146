"""Norms as ``torch`` itself offers them, distances, and scaling to a norm."""

from __future__ import annotations

from typing import Any

from torchlite import dtypes
from torchlite._tensor import Tensor, method
from torchlite.autocasting import autocasts
from torchlite.dispatch import apply
from torchlite.ir import FLOAT32, FLOAT32_ON_CUDA
from torchlite.ops.arithmetic import where
from torchlite.ops.construct import dims_of
from torchlite.ops.destination import OutDtype, takes_out_as
from torchlite.ops.mutation import inplace
from torchlite.ops.norms import vector_norm_of
from torchlite.ops.spectral import svd_op

_MANY_ROWS = 25  # from here on PyTorch computes Euclidean distances by a matrix product


@takes_out_as(OutDtype.SAME)
@method()
@autocasts(FLOAT32_ON_CUDA)
def norm(
    input: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: dtypes.dtype | None = None
) -> Tensor:
    """(Σ |x|ᵖ)^(1/p) over ``dim``; the largest |x| for p = inf, Σ of the singular values for p = "nuc".

    Raises:
        RuntimeError: for another word, integers, or a "nuc" norm over other than two dimensions.
    """
    x = input if dtype is None else input.to(dtype)
    if x._data.dtype.kind in "biu":
        raise RuntimeError(f"norm: Expected a floating point or complex tensor as input. Got {x.dtype}")
    if isinstance(p, str) and p not in ("fro", "nuc"):
        raise RuntimeError(f"norm: Order {p} not supported; use a number, 'fro' or 'nuc'")
    if p != "nuc":
        return vector_norm_of("norm", x, 2.0 if p in ("fro", None) else float(p), dim, keepdim)
    dims = dims_of("norm", dim, x.ndim)
    if len(dims) != 2:
        raise RuntimeError(f"norm: p='nuc' needs two dimensions, got {list(dims)}")
    values = apply(svd_op, (x.movedim(dims, (-2, -1)),), {"full": False})[1].sum(-1)
    return values.reshape([1 if d in dims else n for d, n in enumerate(x.shape)]) if keepdim else values


@method()
@autocasts(FLOAT32_ON_CUDA)
def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of ``input - other``."""
    return norm(input - other, p)


@autocasts(FLOAT32)
def cdist(
    x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str | None = "use_mm_for_euclid_dist_if_necessary"
) -> Tensor:
    """The p-norm distances of the rows of ``x1`` and ``x2``.

    Args:
        x1: (*, P, M).
        x2: (*, R, M).
        p: the norm, 0 or more.
        compute_mode: whether Euclidean distances come from the matrix product of the rows, which takes less memory and
            is less exact: "use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist", or (the default, also None)
            "use_mm_for_euclid_dist_if_necessary" with more than 25 rows.

    Shape:
        - result: (*, P, R)
    """
    modes = {
        None: max(x1.shape[-2:-1] + x2.shape[-2:-1], default=0) > _MANY_ROWS,
        "use_mm_for_euclid_dist": True,
        "donot_use_mm_for_euclid_dist": False,
    }
    modes["use_mm_for_euclid_dist_if_necessary"] = modes[None]
    if compute_mode not in modes:
        raise ValueError(f"{compute_mode} is not a valid value for compute_mode")
    for what, x in (("X1", x1), ("X2", x2)):
        if x.ndim < 2:
            raise RuntimeError(f"cdist only supports at least 2D tensors, {what} got: {x.ndim}D")
        if not x.is_floating_point():
            raise RuntimeError(f"cdist only supports floating-point dtypes, {what} got: {x.dtype}")
    if x1.shape[-1] != x2.shape[-1]:
        raise RuntimeError(f"X1 and X2 must have the same number of columns. X1: {x1.shape[-1]} X2: {x2.shape[-1]}")
    if x1.dtype is not x2.dtype:
        raise RuntimeError(f"cdist: expected X1 and X2 of one dtype, but got {x1.dtype} and {x2.dtype}")
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    if p == 2 and modes[compute_mode]:
        return _by_product(x1, x2)
    return _distance(x1.unsqueeze(-2) - x2.unsqueeze(-3), p)


def _distance(difference: Tensor, p: float) -> Tensor:
    if difference.shape[-1] == 0:
        return difference.sum(-1)
    return vector_norm_of("cdist", difference, float(p), -1, False)


def _by_product(x1: Tensor, x2: Tensor) -> Tensor:
    """√(|x|² + |y|² - 2 x·y), whose gradient is 0 where two rows are equal."""
    squares: Tensor = x1.square().sum(-1, True) + x2.square().sum(-1, True).mT - (x1 @ x2.mT) * 2
    apart = squares > 0
    return where(apart, where(apart, squares, 1.0).sqrt(), 0.0)


@takes_out_as(OutDtype.SAME)
@method()
@autocasts(FLOAT32_ON_CUDA)
def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """``input`` with each slice along ``dim`` scaled down to a p-norm of at most ``maxnorm``.

    Raises:
        RuntimeError: for fewer than two dimensions, a p that is not positive, or a negative ``maxnorm``.
    """
    if input.ndim < 2:
        raise RuntimeError(f"renorm: input needs at least 2 dimensions, got {input.ndim} dimensions")
    dim = input._checked_dim(dim)
    if not p > 0:
        raise RuntimeError(f"renorm: non-positive norm p={p} not supported")
    if maxnorm < 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm}")
    others = [d for d in range(input.ndim) if d != dim]
    size = vector_norm_of("renorm", input, float(p), others, True)
    return input * where(size > maxnorm, maxnorm / (size + 1e-7), 1.0)


method("renorm_")(inplace(renorm))
