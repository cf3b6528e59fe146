"""Determinants."""

from __future__ import annotations

import math

from torchlite import return_types
from torchlite._tensor import Tensor, method
from torchlite.dispatch import apply
from torchlite.linalg.checks import square_matrices
from torchlite.ops.arithmetic import where
from torchlite.ops.destination import takes_out
from torchlite.ops.inversion import determinant_op, log_determinant_op


@takes_out
@method()
def det(A: Tensor) -> Tensor:
    """The determinant of square matrices."""
    return apply(determinant_op, (square_matrices("linalg.det", A),))


@takes_out
def slogdet(A: Tensor) -> return_types.Results:
    """The sign and ln|det| of square matrices."""
    return return_types.linalg_slogdet(apply(log_determinant_op, (square_matrices("linalg.slogdet", A),)))


@method()
def logdet(input: Tensor) -> Tensor:
    """ln det of square matrices; NaN where it is negative."""
    sign, size = slogdet(input)
    return sign.log() + size if sign.is_complex() else where(sign < 0, math.nan, size)
