"""Inverses, solutions and factorizations of (batches of) matrices, by LAPACK through ``xp.linalg``.

The gradient rules hold for real and complex matrices; a transpose there is the conjugate transpose. Sources: M. Giles,
An extended collection of matrix derivative results (2008); I. Murray, Differentiation of the Cholesky decomposition
(2016); S. Walter and L. Lehmann, Algorithmic differentiation of linear algebra functions (2018).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite._tensor import Tensor
from torchlite.dispatch import apply
from torchlite.ir import Aval, Op, Sample, broadcast_shapes, register


def _real(dtype: Any) -> Any:
    return np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype


def _well_conditioned(rng: Any, *shape: int) -> Any:
    return rng.normal(size=shape) + 3 * np.eye(shape[-1])


def _positive_definite(rng: Any, *shape: int) -> Any:
    x = rng.normal(size=shape)
    return x @ x.swapaxes(-1, -2) + np.eye(shape[-1])


inverse_op: Op = register(
    Op(
        "inverse",
        "contract",
        run=lambda xp, x: xp.linalg.inv(x),
        infer=lambda x: x,
        vjp=(lambda g, out, _x: -(out.mH @ g @ out.mH),),
        samples=lambda rng: [Sample((_well_conditioned(rng, 2, 3, 3),), {})],
        doc="The inverse of square matrices.",
    )
)
solve_op: Op = register(
    Op(
        "solve_matrix",
        "contract",
        run=lambda xp, a, b: xp.linalg.solve(a, b),
        infer=lambda a, b: Aval(
            (*broadcast_shapes("solve", a.shape[:-2], b.shape[:-2]), *b.shape[-2:]), b.dtype, b.device
        ),
        vjp=(
            lambda g, out, a, _b: -(apply(solve_op, (a.mH, g)) @ out.mH),
            lambda g, _out, a, _b: apply(solve_op, (a.mH, g)),
        ),
        samples=lambda rng: [
            Sample((_well_conditioned(rng, 2, 3, 3), rng.normal(size=(2, 3, 2))), {}),
            Sample((_well_conditioned(rng, 3, 3), rng.normal(size=(2, 3, 2))), {}),
        ],
        doc="The X with A X = B.",
    )
)
determinant_op: Op = register(
    Op(
        "determinant",
        "contract",
        run=lambda xp, x: xp.linalg.det(x),
        infer=lambda x: Aval(x.shape[:-2], x.dtype, x.device),
        vjp=(lambda g, _out, x: _spread(g) * cofactors(x).conj(),),
        samples=lambda rng: [
            Sample((_well_conditioned(rng, 2, 3, 3),), {}),
            Sample((np.ones((3, 3)) + np.diag([1.0, 0.0, 0.0]),), {}),
        ],
        doc="The determinant of square matrices; its gradient, the cofactors, also exists where they are singular.",
    )
)
log_determinant_op: Op = register(
    Op(
        "log_determinant",
        "contract",
        run=lambda xp, x: tuple(xp.linalg.slogdet(x)),
        infer=lambda x: (
            Aval(x.shape[:-2], x.dtype, x.device),
            Aval(x.shape[:-2], _real(x.dtype), x.device),
        ),
        vjp=(lambda g, _out, x: None if g[1] is None else _spread(g[1]) * apply(inverse_op, (x,)).mH,),
        samples=lambda rng: [Sample((_well_conditioned(rng, 2, 3, 3),), {})],
        doc="The sign and ln|det| of square matrices. The gradient is that of the second, and of real matrices in the first.",
    )
)
cholesky_op: Op = register(
    Op(
        "cholesky_factor",
        "contract",
        run=lambda xp, x: xp.linalg.cholesky(x),
        infer=lambda x: x,
        vjp=(lambda g, out, _x: _cholesky_slope(g, out),),
        samples=lambda rng: [Sample((_positive_definite(rng, 2, 3, 3),), {})],
        doc="The lower triangular L with L Lᴴ = x; x is taken to be symmetric, and so is its gradient.",
    )
)
eigh_op: Op = register(
    Op(
        "eigh",
        "contract",
        run=lambda xp, x: tuple(xp.linalg.eigh(x)),
        infer=lambda x: (Aval(x.shape[:-1], _real(x.dtype), x.device), x),
        vjp=(lambda g, out, _x: _eigh_slope(*g, *out),),
        samples=lambda rng: [Sample((_positive_definite(rng, 2, 3, 3),), {})],
        doc="Eigenvalues in ascending order and eigenvectors of symmetric matrices, of which the lower triangle is read.",
    )
)
svd_op: Op = register(
    Op(
        "svd",
        "contract",
        run=lambda xp, x, *, full: tuple(xp.linalg.svd(x, full_matrices=full)),
        infer=lambda x, *, full: _infer_svd(x, full),
        vjp=(lambda g, out, _x, full: _svd_slope(g, out, full),),
        samples=lambda rng: [
            Sample((rng.normal(size=(2, 4, 3)),), {"full": False}),
            Sample((rng.normal(size=(3, 4)),), {"full": False}),
        ],
        doc="U, S and Vᴴ with x = U diag(S) Vᴴ and S descending.",
    )
)
qr_op: Op = register(
    Op(
        "qr",
        "contract",
        run=lambda xp, x, *, mode: tuple(xp.linalg.qr(x, mode)),
        infer=lambda x, *, mode: _infer_qr(x, mode),
        vjp=(lambda g, out, _x, mode: _qr_slope(g[0], g[1], out[0], out[1], mode),),
        samples=lambda rng: [
            Sample((rng.normal(size=(4, 3)),), {"mode": "reduced"}),
            Sample((rng.normal(size=(2, 3, 3)),), {"mode": "reduced"}),
        ],
        doc="Q with orthonormal columns and an upper triangular R with x = Q R.",
    )
)


def _spread(g: Tensor) -> Tensor:
    """A number for each matrix as a 1×1 matrix."""
    return g.unsqueeze(-1).unsqueeze(-1)


def cofactors(x: Tensor) -> Tensor:
    """The gradient of the determinant by every element: det(x) · x⁻ᵀ, by minors where x may be singular."""
    n = x.shape[-1]
    if n == 1:
        return x.new_ones(x.shape)
    det = apply(determinant_op, (x,))
    if bool((det.detach().abs() > np.finfo(x._data.dtype).tiny ** 0.5).all()):
        return _spread(det) * apply(inverse_op, (x,)).mT
    from torchlite.ops.joining import stack

    rows = []
    for i in range(n):
        others = [k for k in range(n) if k != i]
        minors = [x[..., others, :][..., [k for k in range(n) if k != j]] for j in range(n)]
        rows.append(stack([apply(determinant_op, (m,)) * (-1) ** (i + j) for j, m in enumerate(minors)], -1))
    return stack(rows, -2)


def _cholesky_slope(g: Tensor, lower: Tensor) -> Tensor:
    inner = (lower.mH @ g).tril()
    inner = inner - _diagonal_only(inner) * 0.5
    left = apply(solve_op, (lower.mH, inner))
    slope = apply(solve_op, (lower.mH, left.mH)).mH
    return (slope + slope.mH) * 0.5


def _diagonal_only(x: Tensor) -> Tensor:
    return x.tril() - x.tril(-1)


def _eigh_slope(g_values: Any, g_vectors: Any, values: Tensor, vectors: Tensor) -> Tensor:
    n = values.shape[-1]
    inner = vectors.new_zeros(vectors.shape)
    if g_vectors is not None:
        gaps = _off_diagonal_inverse(values.unsqueeze(-2) - values.unsqueeze(-1), n)
        inner = (vectors.mH @ g_vectors) * gaps
    if g_values is not None:
        inner = inner + _as_diagonal(g_values)
    slope = vectors @ inner.to(vectors.dtype) @ vectors.mH
    return (slope + slope.mH) * 0.5


def _identity(x: Tensor, n: int) -> Tensor:
    from torchlite.ops.creation import eye

    return eye(n, dtype=x.dtype, device=x.device)


def _as_diagonal(values: Tensor) -> Tensor:
    return values.unsqueeze(-1) * _identity(values, values.shape[-1])


def _off_diagonal_inverse(x: Tensor, n: int) -> Tensor:
    """1 / x off the diagonal and 0 on it."""
    eye = _identity(x, n)
    return (1 - eye) / (x + eye)


def _infer_svd(x: Aval, full: bool) -> tuple[Aval, Aval, Aval]:
    *batch, m, n = x.shape
    k = min(m, n)
    return (
        Aval((*batch, m, m if full else k), x.dtype, x.device),
        Aval((*batch, k), _real(x.dtype), x.device),
        Aval((*batch, n if full else k, n), x.dtype, x.device),
    )


def _svd_slope(g: Any, out: Any, full: bool) -> Tensor:
    g_u, g_s, g_vh = g
    u, s, vh = out
    if full and (g_u is not None or g_vh is not None) and (u.shape[-1] != vh.shape[-1]):
        raise RuntimeError("svd: the gradient of full_matrices=True by U or Vh is not defined; use full_matrices=False")
    k = s.shape[-1]
    u, vh = u[..., :k], vh[..., :k, :]
    values = s.unsqueeze(-2)
    inner = u.new_zeros((*s.shape, k)) if g_s is None else _as_diagonal(g_s)
    gaps = _off_diagonal_inverse((values - s.unsqueeze(-1)) * (values + s.unsqueeze(-1)), k)
    if g_u is not None:
        turn = (u.mH @ g_u) * gaps
        inner = inner + (turn + turn.mH) * values
        if u.is_complex():  # the phase of each pair of vectors
            along = (u.conj() * g_u).sum(-2)
            inner = inner + _as_diagonal((along - along.conj()) * 0.5 / s)
    if g_vh is not None:
        turn = (vh @ g_vh.mH) * gaps
        inner = inner + s.unsqueeze(-1) * (turn + turn.mH)
    total = u @ inner.to(u.dtype) @ vh
    if g_u is not None and u.shape[-2] > k:
        part = g_u / values
        total = total + (part - u @ (u.mH @ part)) @ vh
    if g_vh is not None and vh.shape[-1] > k:
        part = g_vh / s.unsqueeze(-1)
        total = total + u @ (part - (part @ vh.mH) @ vh)
    return total


def _infer_qr(x: Aval, mode: str) -> tuple[Aval, Aval]:
    *batch, m, n = x.shape
    k = m if mode == "complete" else min(m, n)
    return Aval((*batch, m, k), x.dtype, x.device), Aval((*batch, k, n), x.dtype, x.device)


def _qr_slope(g_q: Any, g_r: Any, q: Tensor, r: Tensor, mode: str) -> Tensor:
    if q.shape[-2] < r.shape[-1] or (mode == "complete" and q.shape[-1] != r.shape[-1]):
        raise RuntimeError(
            "qr: the gradient is defined for mode='reduced' and matrices with at least as many rows as columns"
        )
    g_q = q.new_zeros(q.shape) if g_q is None else g_q
    g_r = r.new_zeros(r.shape) if g_r is None else g_r
    m = r @ g_r.mH - g_q.mH @ q
    symmetric = m.tril() + m.tril(-1).mH
    return apply(solve_op, (r, (g_q + q @ symmetric).mH)).mH
