"""exp of matrices by scaling and squaring: the Taylor polynomial of A / 2ˢ, squared s times."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

_DEGREE = 18
# The largest norm for which that polynomial is as exact as the dtype (P. Bader, S. Blanes and F. Casas, Computing the
# matrix exponential with an optimized Taylor polynomial approximation, 2019), by bytes of a real number.
_BOUNDS = {4: 3.01, 8: 1.09}


def matrix_exp(xp: Any, a: Any) -> Any:
    """exp of every matrix of a batch."""
    if a.size == 0:
        return a.copy()
    bound = _BOUNDS[a.dtype.itemsize // (2 if a.dtype.kind == "c" else 1)]
    norms = xp.abs(a).sum(axis=-2).max(axis=-1)
    finite = xp.where(xp.isfinite(norms), norms, xp.zeros((), norms.dtype))
    squarings = xp.ceil(xp.log2(xp.maximum(finite / bound, 1))).astype(np.int64)[..., None, None]
    result = _taylor(xp, a * xp.exp2(-squarings).astype(norms.dtype))
    for step in range(int(squarings.max())):
        result = xp.where(squarings > step, result @ result, result)
    return result


def _taylor(xp: Any, a: Any) -> Any:
    """Σ aⁿ / n! up to the degree, grouped by the powers of a⁴: eight products instead of seventeen."""
    powers = [xp.broadcast_to(xp.eye(a.shape[-1], dtype=a.dtype), a.shape), a]
    for _ in range(2):
        powers.append(powers[-1] @ a)
    fourth = powers[2] @ powers[2]
    total = xp.zeros_like(a)
    for start in range(_DEGREE - _DEGREE % 4, -1, -4):
        group = sum(powers[i] * (1 / math.factorial(start + i)) for i in range(4) if start + i <= _DEGREE)
        total = total @ fourth + group
    return total
