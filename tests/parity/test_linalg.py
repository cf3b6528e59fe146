"""torchlite.linalg against torch.linalg, with gradients; factors that are unique up to sign through what they compose."""

from typing import Any

import numpy as np
import pytest
from oracle import same

import torchlite

rng = np.random.default_rng(41)
A = rng.normal(size=(3, 3)) + 2 * np.eye(3)
BATCH = rng.normal(size=(2, 3, 3)) + 2 * np.eye(3)
TALL, WIDE = rng.normal(size=(4, 3)), rng.normal(size=(2, 3, 4))
B, V = rng.normal(size=(3, 2)), rng.normal(size=3)
POSITIVE = BATCH @ BATCH.swapaxes(-1, -2)
SINGULAR = np.ones((3, 3))

FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "inv": (lambda T, x: T.linalg.inv(x), (BATCH,)),
    "inverse": (lambda T, x: (T.inverse(x), x.inverse()), (A,)),
    "inv_not_square": (lambda T, x: T.linalg.inv(x), (TALL,)),
    "solve": (lambda T, a, b: T.linalg.solve(a, b), (A, B)),
    "solve_vector": (lambda T, a, b: T.linalg.solve(a, b), (A, V)),
    "solve_batch": (lambda T, a, b: T.linalg.solve(a, b), (BATCH, WIDE)),
    "solve_right": (lambda T, a, b: T.linalg.solve(a, b, left=False), (A, TALL)),
    "det": (lambda T, x: (T.linalg.det(x), T.det(x)), (BATCH,)),
    "slogdet": (lambda T, x: T.linalg.slogdet(x)[1], (BATCH,)),
    "logdet": (lambda T, x: x.logdet(), (POSITIVE,)),
    "cholesky": (lambda T, x: T.linalg.cholesky(x), (POSITIVE,)),
    "cholesky_upper": (lambda T, x: T.linalg.cholesky(x, upper=True), (POSITIVE,)),
    "qr": (lambda T, x: [f.abs() for f in T.linalg.qr(x)], (TALL,)),
    "qr_product": (lambda T, x: T.linalg.qr(x)[0] @ T.linalg.qr(x)[1] ** 2, (TALL,)),
    "qr_r": (lambda T, x: T.linalg.qr(x.detach(), mode="r")[1].abs(), (TALL,)),
    "svd": (lambda T, x: [f.abs() for f in T.linalg.svd(x, full_matrices=False)], (TALL,)),
    "svd_wide": (lambda T, x: [f.abs() for f in T.linalg.svd(x, full_matrices=False)], (WIDE,)),
    "svd_full": (lambda T, x: [f.shape for f in T.linalg.svd(x)], (TALL,)),
    "svd_older": (lambda T, x: [f.abs() for f in T.svd(x)], (WIDE,)),
    "svdvals": (lambda T, x: T.linalg.svdvals(x), (WIDE,)),
    "eigh": (lambda T, x: [f.abs() for f in T.linalg.eigh(x)], (POSITIVE,)),
    "eigvalsh": (lambda T, x: T.linalg.eigvalsh(x), (POSITIVE,)),
    "eigh_upper": (lambda T, x: T.linalg.eigvalsh(x, UPLO="U"), (A,)),
    "eigvals": (lambda T, x: T.sort(T.abs(T.linalg.eigvals(x.detach())))[0], (BATCH,)),
    "pinv": (lambda T, x: T.linalg.pinv(x), (TALL,)),
    "pinv_wide": (lambda T, x: T.linalg.pinv(x), (WIDE,)),
    "pinv_rank": (lambda T, x: T.linalg.pinv(x.detach()), (SINGULAR,)),
    "rank": (lambda T, x: T.linalg.matrix_rank(x), (SINGULAR,)),
    "rank_batch": (lambda T, x: T.linalg.matrix_rank(x), (WIDE,)),
    "power": (lambda T, x: (T.linalg.matrix_power(x, 3), x.detach().matrix_power(0), T.linalg.matrix_power(x, -2)), (BATCH,)),
    "exp": (lambda T, x: (T.linalg.matrix_exp(x), T.matrix_exp(x * 3)), (BATCH,)),
    "triangular": (lambda T, a, b: T.linalg.solve_triangular(a, b, upper=True), (A, B)),
    "triangular_lower": (lambda T, a, b: T.linalg.solve_triangular(a, b, upper=False, unitriangular=True), (A, B)),
    "triangular_right": (lambda T, a, b: T.linalg.solve_triangular(a, b, upper=True, left=False), (A, TALL)),
    "lstsq": (lambda T, a, b: T.linalg.lstsq(a, b)[0], (TALL, rng.normal(size=(4, 2)))),
    "cond": (lambda T, x: (T.linalg.cond(x * 1), T.linalg.cond(x.detach(), 1), T.linalg.cond(x.detach(), "fro")), (A,)),
    "cross": (lambda T, a, b: (T.linalg.cross(a, b), T.cross(a, b, dim=-1)), (A, A.T.copy())),
    "vecdot": (lambda T, a, b: T.linalg.vecdot(a, b, dim=0), (A, A.T.copy())),
    "empty": (lambda T, x: (T.linalg.inv(x), T.linalg.det(x)), (np.zeros((0, 3, 3)),)),
    "float32": (lambda T, x: (T.linalg.inv(x), T.linalg.det(x)), (A.astype(np.float32),)),
    "integers": (lambda T, x: T.linalg.inv(x), (np.eye(3, dtype=np.int64),)),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name: str) -> None:
    function, arrays = FUNCTIONS[name]
    same(function, *arrays, tolerance=1e-4 if name == "float32" else 1e-8)


@pytest.mark.parametrize("order", [2, 1, 0, 3, 0.5, float("inf"), float("-inf")])
def test_vector_norm(order: Any) -> None:
    for dim, keepdim in ((None, False), (0, True), ((0, 1), False), (-1, False)):

        def norm(T: Any, x: Any, dim: Any = dim, keepdim: bool = keepdim) -> Any:
            return T.linalg.vector_norm(x.detach() if order == 0 else x, order, dim, keepdim)

        same(norm, TALL)
        same(norm, WIDE)
        same(lambda T, x: T.linalg.norm(x.detach(), order), V)


@pytest.mark.parametrize("order", ["fro", "nuc", 1, -1, 2, -2, float("inf"), float("-inf")])
def test_matrix_norm(order: Any) -> None:
    for dim, keepdim in (((-2, -1), False), ((0, 2), True)):
        same(lambda T, x, d=dim, k=keepdim: T.linalg.matrix_norm(x, order, d, k), WIDE)
    same(lambda T, x: T.linalg.norm(x, order), TALL)


def test_complex_matrices() -> None:
    def parts(T: Any, function: Any, a: Any, b: Any) -> Any:
        return tuple(T.view_as_real(o + 0) if o.is_complex() else o for o in function(T.complex(a, b)))

    for function in (
        lambda T, z: (T.linalg.inv(z), T.linalg.det(z), T.linalg.matrix_power(z, 2)),
        lambda T, z: (T.linalg.svdvals(z), T.linalg.slogdet(z)[1]),
        lambda T, z: (T.linalg.cholesky(z @ z.mH), T.linalg.eigvalsh(z @ z.mH), T.linalg.pinv(z)),
    ):
        same(lambda T, a, b, f=function: parts(T, lambda z: f(T, z), a, b), A, BATCH[0], tolerance=1e-8)


def test_failed_factorizations_are_linalg_errors() -> None:
    for function, array in ((torchlite.linalg.inv, SINGULAR), (torchlite.linalg.cholesky, -POSITIVE)):
        with pytest.raises(torchlite.linalg.LinAlgError, match="the computation failed for input of shape"):
            function(torchlite.tensor(array))
