"""Inverses, solutions and determinants of (batches of) matrices.

What may fail gives ``info`` beside its result: an int32 for every matrix, 0 where all went well. The gradient rules hold for
real and complex matrices. Sources: M. Giles, An extended collection of matrix derivative results (2008).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite._tensor import Tensor
from torchlite.backends import elimination
from torchlite.dispatch import apply
from torchlite.ir import Aval, Op, Sample, broadcast_shapes, register
from torchlite.tracing import valid


def real_dtype(dtype: Any) -> Any:
    """The dtype of the parts of a complex number; a real dtype is its own."""
    return np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype


def infer_info(x: Aval) -> Aval:
    """The int32 for every matrix that says whether its factorization failed."""
    return Aval(x.shape[:-2], np.dtype(np.int32), x.device)


def well_conditioned(rng: Any, *shape: int) -> Any:
    """A sample for what needs invertible matrices."""
    return rng.normal(size=shape) + 3 * np.eye(shape[-1])


def _infer_solution(a: Aval, b: Aval) -> Aval:
    return Aval((*broadcast_shapes("solve", a.shape[:-2], b.shape[:-2]), *b.shape[-2:]), b.dtype, b.device)


inverse_op: Op = register(
    Op(
        "inverse",
        "contract",
        run=elimination.inverse,
        infer=lambda x: (x, infer_info(x)),
        vjp=(lambda g, out, _x: -(out[0].mH @ g[0] @ out[0].mH),),
        samples=lambda rng: [Sample((well_conditioned(rng, 2, 3, 3),), {}), Sample((np.zeros((0, 2, 2)),), {})],
        doc="The inverse of square matrices, and info: the number of the first pivot that is 0.",
    )
)
solve_op: Op = register(
    Op(
        "solve_matrix",
        "contract",
        run=elimination.solve,
        infer=lambda a, b: (_infer_solution(a, b), infer_info(a)),
        vjp=(
            lambda g, out, a, _b: -(apply(solve_op, (a.mH, g[0]))[0] @ out[0].mH),
            lambda g, _out, a, _b: apply(solve_op, (a.mH, g[0]))[0],
        ),
        samples=lambda rng: [
            Sample((well_conditioned(rng, 2, 3, 3), rng.normal(size=(2, 3, 2))), {}),
            Sample((well_conditioned(rng, 3, 3), rng.normal(size=(2, 3, 2))), {}),
        ],
        doc="The X with A X = B, and info: the number of the first pivot of A that is 0.",
    )
)


def _triangle(x: Tensor, upper: bool, unit: bool) -> Tensor:
    return x.triu(1 if unit else 0) if upper else x.tril(-1 if unit else 0)


def _triangular_slope(g: Tensor, out: Tensor, a: Tensor, upper: bool, unit: bool) -> Tensor:
    right = apply(triangular_op, (a.mH, g), {"upper": not upper, "unit": unit})
    return -_triangle(right @ out.mH, upper, unit)


triangular_op: Op = register(
    Op(
        "solve_triangle",
        "contract",
        run=lambda xp, a, b, *, upper, unit: elimination.solve_triangular(xp, a, b, upper, unit),
        infer=lambda a, b, *, upper, unit: _infer_solution(a, b),  # noqa: ARG005
        vjp=(
            lambda g, out, a, _b, upper, unit: _triangular_slope(g, out, a, upper, unit),
            lambda g, _out, a, _b, upper, unit: apply(triangular_op, (a.mH, g), {"upper": not upper, "unit": unit}),
        ),
        samples=lambda rng: [
            Sample((well_conditioned(rng, 2, 3, 3), rng.normal(size=(3, 2))), {"upper": True, "unit": False}),
            Sample((well_conditioned(rng, 3, 3), rng.normal(size=(2, 3, 2))), {"upper": False, "unit": True}),
        ],
        doc="The X with A X = B, of whose A one triangle is read (without its diagonal, taken to be 1, for ``unit``).",
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
            Sample((well_conditioned(rng, 2, 3, 3),), {}),
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
            Aval(x.shape[:-2], real_dtype(x.dtype), x.device),
        ),
        vjp=(lambda g, out, x: _log_determinant_slope(g[0], g[1], out[0], x),),
        samples=lambda rng: [
            Sample((well_conditioned(rng, 2, 3, 3),), {}),
            Sample((well_conditioned(rng, 3, 3) + 1j * rng.normal(size=(3, 3)),), {}),
        ],
        doc="The sign (of complex matrices the phase) and ln|det| of square matrices.",
    )
)


def _spread(g: Tensor) -> Tensor:
    """A number for each matrix as a 1×1 matrix."""
    return g.unsqueeze(-1).unsqueeze(-1)


def _log_determinant_slope(g_sign: Any, g_size: Any, sign: Tensor, x: Tensor) -> Any:
    weight = g_size
    if g_sign is not None and x.is_complex():  # the phase turns by the imaginary part of tr(x⁻¹ dx)
        turn = (g_sign * sign.conj()).imag * 1j
        weight = turn if weight is None else weight + turn
    return None if weight is None else _spread(weight) * apply(inverse_op, (x,))[0].mH


def cofactors(x: Tensor) -> Tensor:
    """The gradient of the determinant by every element: det(x) · x⁻ᵀ, by minors where x may be singular."""
    n = x.shape[-1]
    if n == 1:
        return x.new_ones(x.shape)
    det = apply(determinant_op, (x,))
    if valid((det.detach().abs() > np.finfo(x._data.dtype).tiny ** 0.5).all()):
        return _spread(det) * apply(inverse_op, (x,))[0].mT
    from torchlite.ops.joining import stack

    rows = []
    for i in range(n):
        others = [k for k in range(n) if k != i]
        minors = [x[..., others, :][..., [k for k in range(n) if k != j]] for j in range(n)]
        rows.append(stack([apply(determinant_op, (m,)) * (-1) ** (i + j) for j, m in enumerate(minors)], -1))
    return stack(rows, -2)
