"""What the functions of linear algebra ask of their arguments, and how a failed factorization is reported."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite import backends
from torchlite._tensor import Tensor
from torchlite.batching.level import whole
from torchlite.dispatch import apply
from torchlite.errors import LinAlgError
from torchlite.tracing import active, valid


def matrices(name: str, x: Tensor, what: str = "A") -> Tensor:
    """``x``, which must have two dimensions and a dtype that LAPACK knows."""
    if x.ndim < 2:
        raise RuntimeError(
            f"{name}: The input tensor {what} must have at least 2 dimensions, got shape {list(x.shape)}"
        )
    if x._data.dtype.kind not in "fc" or x.itemsize < 4:
        raise RuntimeError(
            f"{name}: Expected a floating point or complex tensor of at least 32 bits as input. Got {x.dtype}"
        )
    return x


def square_matrices(name: str, x: Tensor, what: str = "A") -> Tensor:
    """``x``, which must be square matrices as well."""
    matrices(name, x, what)
    if x.shape[-1] != x.shape[-2]:
        raise RuntimeError(
            f"{name}: {what} must be batches of square matrices, but they are {x.shape[-2]} by {x.shape[-1]} matrices"
        )
    return x


def same_dtype(name: str, x: Tensor, y: Tensor, first: str = "A", second: str = "B") -> None:
    """Refuse two tensors of different dtypes."""
    if x.dtype is not y.dtype:
        raise RuntimeError(
            f"{name}: Expected {first} and {second} to have the same dtype, but found {x.dtype} and {y.dtype} instead"
        )


def is_vector(A: Tensor, B: Tensor) -> bool:
    """Whether the right-hand sides ``B`` of ``A`` are vectors: one, or one for each matrix."""
    return B.ndim == 1 or (B.ndim == A.ndim - 1 and B.shape == A.shape[:-1])


def refuse_failure(name: str, info: Tensor, message: str, error: type[RuntimeError] = LinAlgError) -> None:
    """Raise where ``info`` says that a factorization failed.

    Args:
        name: the function, for the message.
        info: for each matrix 0, or the number of what failed.
        message: what that means, with ``{}`` for the number.
        error: the type to raise.
    """
    if info.is_meta:
        return
    if active.tracer is not None:
        valid((info == 0).all())
        return
    codes = backends.to_numpy(whole(info)._data)
    if codes.any():
        first = int(np.flatnonzero(codes)[0])
        which = f"(Batch element {first}): " if codes.ndim else ""
        raise error(f"{name}: {which}{message.format(int(codes.flat[first]))}")


def converged(name: str, op: Any, x: Tensor, **params: Any) -> Any:
    """``op`` of ``x``; an iteration of LAPACK that does not converge is a `LinAlgError`."""
    try:
        return apply(op, (x,), params)
    except np.linalg.LinAlgError as error:
        raise LinAlgError(
            f"{name}: The algorithm failed to converge for input of shape {list(x.shape)} ({error}); "
            "it may hold infinities or NaN, be ill-conditioned, or have too many repeated values"
        ) from None
