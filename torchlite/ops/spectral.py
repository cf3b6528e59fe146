"""Eigenvalues, singular values and what is computed from them, of (batches of) matrices, by LAPACK through ``xp.linalg``.

Vectors are unique only up to sign or phase, so gradients are defined for functions in which the phase does not count.
Sources: M. Giles (2008) as in `torchlite.ops.inversion`; G. Golub and V. Pereyra, The differentiation of pseudo-inverses (1973).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite._tensor import Tensor
from torchlite.backends import lapack
from torchlite.dispatch import apply
from torchlite.ir import Aval, Op, Sample, broadcast_shapes, register
from torchlite.ops.factorization import positive_definite
from torchlite.ops.inversion import real_dtype, solve_op, well_conditioned


def _complex_dtype(dtype: Any) -> Any:
    return dtype if dtype.kind == "c" else np.dtype(f"c{2 * dtype.itemsize}")


def _infer_eig(x: Aval) -> tuple[Aval, Aval]:
    dtype = _complex_dtype(x.dtype)
    return Aval(x.shape[:-1], dtype, x.device), Aval(x.shape, dtype, x.device)


def _run_eig(xp: Any, x: Any) -> tuple[Any, Any]:
    values, vectors = lapack.eig(xp, x)
    dtype = _complex_dtype(x.dtype)
    return values.astype(dtype, copy=False), vectors.astype(dtype, copy=False)


def _with_real_eigenvalues(rng: Any) -> Any:
    """A sample whose eigenvectors are real, so that their sign and length say all about them."""
    vectors = well_conditioned(rng, 3, 3)
    return vectors @ np.diag([1.0, 2.0, 4.0]) @ np.linalg.inv(vectors)


eig_op: Op = register(
    Op(
        "eig",
        "contract",
        run=_run_eig,
        infer=_infer_eig,
        vjp=(lambda g, out, _x: _eig_slope(*g, *out),),
        doc="Eigenvalues and eigenvectors, as columns of length 1, of square matrices; both complex.",
        samples=lambda rng: [Sample((_with_real_eigenvalues(rng),), {})],
    )
)
eigvals_op: Op = register(
    Op(
        "eigvals",
        "contract",
        run=lambda xp, x: lapack.eigvals(xp, x).astype(_complex_dtype(x.dtype), copy=False),
        infer=lambda x: _infer_eig(x)[0],
        doc="Eigenvalues of square matrices without their vectors, and so without a gradient.",
        samples=lambda rng: [Sample((positive_definite(rng, 2, 3, 3),), {})],
    )
)
eigh_op: Op = register(
    Op(
        "eigh",
        "contract",
        run=lambda xp, x, *, triangle: lapack.eigh(xp, x, triangle),
        infer=lambda x, *, triangle: (Aval(x.shape[:-1], real_dtype(x.dtype), x.device), x),  # noqa: ARG005
        vjp=(lambda g, out, _x, triangle: _eigh_slope(*g, *out),),  # noqa: ARG005
        samples=lambda rng: [Sample((positive_definite(rng, 2, 3, 3),), {"triangle": "L"})],
        doc='Eigenvalues in ascending order and eigenvectors of symmetric matrices, of which one triangle ("L" or "U") is read.',
    )
)
eigvalsh_op: Op = register(
    Op(
        "eigvalsh",
        "contract",
        run=lambda xp, x, *, triangle: lapack.eigvalsh(xp, x, triangle),
        infer=lambda x, *, triangle: Aval(x.shape[:-1], real_dtype(x.dtype), x.device),  # noqa: ARG005
        samples=lambda rng: [Sample((positive_definite(rng, 2, 3, 3),), {"triangle": "U"})],
        doc="Eigenvalues of symmetric matrices without their vectors, and so without a gradient.",
    )
)
svd_op: Op = register(
    Op(
        "svd",
        "contract",
        run=lambda xp, x, *, full: lapack.svd(xp, x, full),
        infer=lambda x, *, full: _infer_svd(x, full),
        vjp=(lambda g, out, _x, full: _svd_slope(*g, *out),),  # noqa: ARG005
        samples=lambda rng: [
            Sample((rng.normal(size=(2, 4, 3)),), {"full": False}),
            Sample((rng.normal(size=(3, 4)),), {"full": False}),
        ],
        doc="U, S and Vᴴ with x = U diag(S) Vᴴ and S descending.",
    )
)
svdvals_op: Op = register(
    Op(
        "svdvals",
        "contract",
        run=lapack.svdvals,
        infer=lambda x: _infer_svd(x, False)[1],
        samples=lambda rng: [Sample((rng.normal(size=(2, 4, 3)),), {})],
        doc="Singular values without their vectors, and so without a gradient.",
    )
)
pinv_op: Op = register(
    Op(
        "pinv",
        "contract",
        run=lambda xp, x, atol, rtol, *, hermitian: _run_pinv(xp, x, atol, rtol, hermitian),
        infer=lambda x, atol, rtol, *, hermitian: _infer_pinv(x, atol, rtol),  # noqa: ARG005
        vjp=(lambda g, out, x, _atol, _rtol, hermitian: _pinv_slope(g, out, x), None, None),  # noqa: ARG005
        samples=lambda rng: [
            Sample((rng.normal(size=(2, 4, 3)), np.zeros(()), np.full(2, 1e-9)), {"hermitian": False}),
            Sample((rng.normal(size=(2, 3)), np.zeros(()), np.zeros(())), {"hermitian": False}),
        ],
        doc="The pseudo-inverse; singular values (absolute eigenvalues) up to max(atol, rtol · the largest) count as 0. The "
        "gradient is that of matrices whose rank stays.",
    )
)


def _eig_slope(g_values: Any, g_vectors: Any, values: Tensor, vectors: Tensor) -> Tensor:
    adjoint = vectors.mH
    inner = None if g_values is None else _as_diagonal(g_values)
    if g_vectors is not None:
        turn = adjoint @ g_vectors
        # Vectors keep their length, so what a cotangent has along them does not count.
        along = turn.diagonal(0, -2, -1).real
        turn = turn - (adjoint @ vectors) * along.unsqueeze(-2).to(vectors.dtype)
        gaps = _off_diagonal_inverse(values.unsqueeze(-2) - values.unsqueeze(-1), values.shape[-1]).conj()
        inner = turn * gaps if inner is None else inner + turn * gaps
    return apply(solve_op, (adjoint, inner @ adjoint))[0]


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
        Aval((*batch, k), real_dtype(x.dtype), x.device),
        Aval((*batch, n if full else k, n), x.dtype, x.device),
    )


def _svd_slope(g_u: Any, g_s: Any, g_vh: Any, u: Tensor, s: Tensor, vh: Tensor) -> Tensor:
    k = s.shape[-1]
    # Of full matrices, the vectors beyond the singular values are arbitrary and have no gradient.
    u, vh = u[..., :k], vh[..., :k, :]
    g_u = None if g_u is None else g_u[..., :k]
    g_vh = None if g_vh is None else g_vh[..., :k, :]
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


def _infer_pinv(x: Aval, atol: Aval, rtol: Aval) -> Aval:
    *batch, m, n = x.shape
    if broadcast_shapes("pinv", tuple(batch), atol.shape, rtol.shape) != tuple(batch):
        raise RuntimeError(
            f"linalg.pinv: atol and rtol of shape {list(atol.shape)} and {list(rtol.shape)} must broadcast to the batch {batch}"
        )
    return Aval((*batch, n, m), x.dtype, x.device)


def _run_pinv(xp: Any, x: Any, atol: Any, rtol: Any, hermitian: bool) -> Any:
    if x.size == 0:
        return xp.zeros((*x.shape[:-2], x.shape[-1], x.shape[-2]), x.dtype)
    if hermitian:
        values, u = lapack.eigh(xp, x, "L")
        sizes, vh = xp.abs(values), u.swapaxes(-1, -2).conj()
    else:
        u, values, vh = lapack.svd(xp, x, False)
        sizes = values
    largest = sizes.max(axis=-1, keepdims=True)
    kept = sizes > xp.maximum(atol[..., None], rtol[..., None] * largest)
    inverse = xp.where(kept, 1 / xp.where(kept, values, xp.ones((), values.dtype)), xp.zeros((), values.dtype))
    return (vh.swapaxes(-1, -2).conj() * inverse[..., None, :]) @ u.swapaxes(-1, -2).conj()


def _pinv_slope(g: Tensor, out: Tensor, x: Tensor) -> Tensor:
    adjoint = out.mH
    turned = g.mH @ out  # (m, m)
    left = turned @ adjoint  # (m, n)
    right = adjoint @ (out @ g.mH)  # (m, n)
    return left - x @ (out @ left) + right - (right @ out) @ x - (adjoint @ g) @ adjoint
