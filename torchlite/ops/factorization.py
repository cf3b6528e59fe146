"""Triangular and orthogonal factorizations of (batches of) matrices.

The gradient rules hold for real and complex matrices; a transpose there is the conjugate transpose. Sources: I. Murray,
Differentiation of the Cholesky decomposition (2016); S. Walter and L. Lehmann, Algorithmic differentiation of linear
algebra functions (2018); for LU, F. de Hoog, R. Anderssen and M. Lukas, Differentiation of matrix functionals (2011).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite._tensor import Tensor
from torchlite.backends import bunch_kaufman, elimination, lapack
from torchlite.dispatch import apply
from torchlite.ir import Aval, Op, Sample, register
from torchlite.ops.inversion import infer_info, triangular_op, well_conditioned
from torchlite.ops.joining import cat

_INT32, _INT64 = np.dtype(np.int32), np.dtype(np.int64)


def positive_definite(rng: Any, *shape: int) -> Any:
    """A sample for what needs positive-definite matrices."""
    x = rng.normal(size=shape)
    return x @ x.swapaxes(-1, -2) + np.eye(shape[-1])


cholesky_op: Op = register(
    Op(
        "cholesky_factor",
        "contract",
        run=elimination.cholesky,
        infer=lambda x: (x, infer_info(x)),
        vjp=(lambda g, out, _x: _cholesky_slope(g[0], out[0]),),
        samples=lambda rng: [Sample((positive_definite(rng, 2, 3, 3),), {})],
        doc="The lower triangular L with L Lᴴ = x, and info: the order of the first leading minor that is not positive. "
        "x is taken to be symmetric, and so is its gradient.",
    )
)
lu_op: Op = register(
    Op(
        "lu_factor",
        "contract",
        run=elimination.lu,
        infer=lambda x, *, pivot: (x, _infer_pivots(x), infer_info(x)),  # noqa: ARG005
        vjp=(lambda g, out, _x, pivot: _lu_slope(g[0], *out[:2]),),  # noqa: ARG005
        samples=lambda rng: [
            Sample((well_conditioned(rng, 2, 3, 3),), {"pivot": True}),
            Sample((well_conditioned(rng, 2, 3, 3)[..., :2, :],), {"pivot": True}),
            Sample((rng.normal(size=(4, 3)),), {"pivot": True}),
            Sample((well_conditioned(rng, 3, 3),), {"pivot": False}),
        ],
        doc="L (without its unit diagonal) and U in one matrix with x = P L U, the row (from 1) that each row was "
        "exchanged with, and info: the number of the first 0 on the diagonal of U.",
    )
)
permutation_op: Op = register(
    Op(
        "pivots_to_order",
        "index",
        run=lambda xp, pivots, *, rows: elimination.permutation(xp, pivots, rows),
        infer=lambda pivots, *, rows: Aval((*pivots.shape[:-1], rows), _INT64, pivots.device),
        samples=lambda rng: [Sample((np.array([[2, 2, 3], [3, 3, 3]], np.int32),), {"rows": 4})],  # noqa: ARG005
        doc="The order of rows after the exchanges that LU's pivots list.",
    )
)
ldl_op: Op = register(
    Op(
        "ldl_factor",
        "contract",
        run=bunch_kaufman.ldl,
        infer=lambda x, *, hermitian: (x, _infer_pivots(x), infer_info(x)),  # noqa: ARG005
        samples=lambda rng: [Sample((rng.normal(size=(2, 4, 4)),), {"hermitian": False})],
        doc="L and D of symmetric (Hermitian) matrices, of which the lower triangle is read, packed in one matrix; pivots; "
        "info: the number of the first block of D that is 0.",
    )
)
ldl_unpack_op: Op = register(
    Op(
        "ldl_unpack",
        "contract",
        run=bunch_kaufman.unpack,
        infer=lambda x, pivots, *, hermitian: (x, x, Aval(pivots.shape, _INT64, x.device)),  # noqa: ARG005
        samples=lambda rng: [
            Sample((rng.normal(size=(4, 4)), np.array([2, -4, -4, 4], np.int32)), {"hermitian": False})
        ],
        doc="The unit lower triangular L, the block diagonal D and the order of rows that ``ldl_factor`` packs.",
    )
)
qr_op: Op = register(
    Op(
        "qr",
        "contract",
        run=lambda xp, x, *, mode: lapack.qr(xp, x, mode),
        infer=lambda x, *, mode: _infer_qr(x, mode),
        vjp=(lambda g, out, x, mode: _qr_slope(g[0], g[1], out[0], out[1], x, mode),),
        samples=lambda rng: [
            Sample((rng.normal(size=(4, 3)),), {"mode": "reduced"}),
            Sample((rng.normal(size=(2, 3, 3)),), {"mode": "complete"}),
            Sample((rng.normal(size=(2, 2, 4)),), {"mode": "reduced"}),
        ],
        doc="Q with orthonormal columns and an upper triangular R with x = Q R.",
    )
)
householder_op: Op = register(
    Op(
        "householder_factor",
        "contract",
        run=lambda xp, x: _run_householder(xp, x),
        infer=lambda x: (x, Aval((*x.shape[:-2], min(x.shape[-2:])), x.dtype, x.device)),
        samples=lambda rng: [Sample((rng.normal(size=(2, 4, 3)),), {}), Sample((rng.normal(size=(2, 3)),), {})],
        doc="R on and above the diagonal, below it the vectors (their first element, 1, left out) of Householder's "
        "reflections 1 - τ v vᴴ whose product is Q, and the numbers τ.",
    )
)


def _infer_pivots(x: Aval) -> Aval:
    return Aval((*x.shape[:-2], min(x.shape[-2:])), _INT32, x.device)


def _solved(a: Tensor, b: Tensor, *, upper: bool, unit: bool = False) -> Tensor:
    return apply(triangular_op, (a, b), {"upper": upper, "unit": unit})


def _solved_right(b: Tensor, a: Tensor, *, upper: bool) -> Tensor:
    """The X with X Aᴴ = B; ``upper`` is said of A."""
    return _solved(a, b.mH, upper=upper).mH


def _cholesky_slope(g: Tensor, lower: Tensor) -> Tensor:
    inner = (lower.mH @ g).tril()
    inner = inner - _diagonal_only(inner) * 0.5
    left = _solved(lower.mH, inner, upper=True)
    slope = _solved(lower.mH, left.mH, upper=True).mH
    return (slope + slope.mH) * 0.5


def _diagonal_only(x: Tensor) -> Tensor:
    return x.tril() - x.tril(-1)


def _lu_slope(g: Tensor, packed: Tensor, pivots: Tensor) -> Tensor:
    """With the square corner of L and U called ``l`` and ``u``, and what is beside or below it ``right`` or ``below``."""
    m, n = packed.shape[-2:]
    k = min(m, n)
    corner, g_corner = packed[..., :k, :k], g[..., :k, :k]
    lower = (corner.mH.triu(1) @ g_corner.tril(-1) + g_corner.tril(-1)).tril(-1)  # (Lᴴ gL) below the diagonal
    upper = (g_corner.triu() @ corner.triu().mH).triu()
    if n > k:
        right, g_right = packed[..., k:], g[..., k:]
        lower = lower - (g_right @ right.mH).tril(-1)
        beside = _solved(corner.mH, g_right, upper=True, unit=True)
    if m > k:
        below, g_below = packed[..., k:, :], g[..., k:, :]
        upper = upper - (below.mH @ g_below).triu()
    inner = _solved(corner.mH, lower + upper, upper=True, unit=True)
    slope = _solved_right(inner, corner, upper=True)
    if n > k:
        slope = cat([slope, beside], -1)
    if m > k:
        slope = cat([slope, _solved_right(g_below, corner, upper=True)], -2)
    order = apply(permutation_op, (pivots,), {"rows": m})
    return slope.gather(-2, order.argsort(-1).unsqueeze(-1).expand(slope.shape))


def _infer_qr(x: Aval, mode: str) -> tuple[Aval, Aval]:
    *batch, m, n = x.shape
    k = m if mode == "complete" else min(m, n)
    return Aval((*batch, m, k), x.dtype, x.device), Aval((*batch, k, n), x.dtype, x.device)


def _qr_slope(g_q: Any, g_r: Any, q: Tensor, r: Tensor, x: Tensor, mode: str) -> Tensor:
    m, n = x.shape[-2:]
    if mode == "complete" and m > n:
        raise RuntimeError(
            "qr: the gradient of mode='complete' is not defined for matrices with more rows than columns, because columns "
            "of Q are arbitrary there; use mode='reduced'"
        )
    if m >= n:
        return _square_qr_slope(g_q, g_r, q, r)
    # x = Q [R1, R2]: its left square determines Q and R1, and R2 is Qᴴ times the rest.
    right, g_left = x[..., m:], None if g_r is None else g_r[..., :m]
    if g_r is None:
        return cat([_square_qr_slope(g_q, None, q, r[..., :m]), right.new_zeros(right.shape)], -1)
    g_right = g_r[..., m:]
    turned = right @ g_right.mH
    return cat([_square_qr_slope(turned if g_q is None else g_q + turned, g_left, q, r[..., :m]), q @ g_right], -1)


def _square_qr_slope(g_q: Any, g_r: Any, q: Tensor, r: Tensor) -> Tensor:
    g_q = q.new_zeros(q.shape) if g_q is None else g_q
    inner = -(g_q.mH @ q) if g_r is None else r @ g_r.mH - g_q.mH @ q
    if q.is_complex():  # the diagonal of R is real by convention only: phases do not count
        inner = inner - _diagonal_only(inner - inner.mH) * 0.5
    symmetric = inner.tril() + inner.tril(-1).mH
    return _solved_right(g_q + q @ symmetric, r, upper=True)


def _run_householder(xp: Any, x: Any) -> tuple[Any, Any]:
    transposed, scales = lapack.qr(xp, x, "raw")
    return xp.ascontiguousarray(transposed.swapaxes(-1, -2)), scales
