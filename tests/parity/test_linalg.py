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


def complexes(T: Any, x: Any) -> Any:
    """A complex tensor of pairs of numbers."""
    return T.view_as_complex(x)


def parts(T: Any, values: Any) -> Any:
    """Results as real tensors, with the numbers in which phases do not count."""
    if isinstance(values, (tuple, list)):
        return [parts(T, v) for v in values]
    return T.view_as_real(values.resolve_conj()) if values.is_complex() else values


PAIRS = rng.normal(size=(2, 3, 3, 2)) + 2 * np.eye(3)[..., None] * [1, 0]
TALL_PAIRS, WIDE_PAIRS, RIGHT_PAIRS = (rng.normal(size=shape) for shape in ((4, 3, 2), (2, 2, 4, 2), (3, 2, 2)))

COMPLEX: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "inverses": (lambda T, z: (T.linalg.inv(z), T.linalg.inv_ex(z)[0], T.linalg.pinv(z), T.linalg.matrix_power(z, -2)), (PAIRS,)),
    "determinants": (lambda T, z: (T.linalg.det(z), *T.linalg.slogdet(z), T.logdet(z)), (PAIRS,)),
    "exponential": (lambda T, z: T.linalg.matrix_exp(z * 2), (PAIRS,)),
    "solve": (lambda T, a, b: (T.linalg.solve(a, b), T.linalg.solve(a, b.mT, left=False)), (PAIRS, RIGHT_PAIRS)),
    "triangular": (lambda T, a, b: (
        T.linalg.solve_triangular(a, b, upper=True), T.linalg.solve_triangular(a, b.mT, upper=False, left=False),
        T.linalg.solve_triangular(a, b, upper=False, unitriangular=True)), (PAIRS, RIGHT_PAIRS)),
    "cholesky": (lambda T, z: (T.linalg.cholesky(z @ z.mH), T.linalg.cholesky(z @ z.mH, upper=True)), (PAIRS,)),
    "cholesky_solve": (lambda T, a, b: (
        T.cholesky_solve(b, T.linalg.cholesky(a @ a.mH)), T.cholesky_inverse(T.linalg.cholesky(a @ a.mH, upper=True), True)),
        (PAIRS, RIGHT_PAIRS)),
    "lu": (lambda T, z: T.linalg.lu(z), (PAIRS,)),
    "lu_tall": (lambda T, z: T.linalg.lu(z), (TALL_PAIRS,)),
    "lu_wide": (lambda T, z: T.linalg.lu(z), (WIDE_PAIRS,)),
    "lu_solve": (lambda T, a, b: [
        T.linalg.lu_solve(*T.linalg.lu_factor(a), b if left else b.mT, left=left, adjoint=adjoint)
        for left in (True, False) for adjoint in (True, False)], (PAIRS, RIGHT_PAIRS)),
    "qr": (lambda T, z: T.linalg.qr(z), (TALL_PAIRS,)),
    "qr_wide": (lambda T, z: T.linalg.qr(z), (WIDE_PAIRS,)),
    "qr_complete": (lambda T, z: T.linalg.qr(z, "complete"), (PAIRS,)),
    "householder": (lambda T, z: T.linalg.householder_product(*T.geqrf(z.detach())), (TALL_PAIRS,)),
    "ormqr": (lambda T, z, b: [
        T.ormqr(*T.geqrf(z.detach()), b if left else b.mT, left, transpose)
        for left in (True, False) for transpose in (True, False)], (TALL_PAIRS[:3], RIGHT_PAIRS)),
    "eigh": (lambda T, z: (T.linalg.eigvalsh(z, UPLO="U"), T.linalg.eigh(z + z.mH)[1].abs()), (PAIRS,)),
    "eig": (lambda T, z: (T.linalg.eigvals(z), T.linalg.eig(z)[1].abs()), (PAIRS,)),
    "svd": (lambda T, z: (T.linalg.svdvals(z), *(f.abs() for f in T.linalg.svd(z, full_matrices=False))), (WIDE_PAIRS,)),
    "lstsq": (lambda T, z: T.linalg.lstsq(z, z[..., :1])[:1], (TALL_PAIRS,)),
    "norms": (lambda T, z: [T.linalg.vector_norm(z, p, dim=-1) for p in (2, 1, 3, 0.5, float("inf"))], (TALL_PAIRS,)),
    "matrix_norms": (lambda T, z: [T.linalg.matrix_norm(z, p) for p in (2, "nuc", "fro", 1, float("inf"))], (TALL_PAIRS,)),
    "products": (lambda T, z: (T.linalg.vecdot(z, z[0]), T.linalg.cross(z, z[0]), T.linalg.vander(z[0, 0])), (PAIRS,)),
    "tensors": (lambda T, z: (T.linalg.tensorinv(z, ind=1), T.linalg.tensorsolve(z, z[0])), (PAIRS[0],)),
}  # fmt: skip


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_matrices(name: str) -> None:
    function, arrays = COMPLEX[name]
    same(lambda T, *xs: parts(T, function(T, *(complexes(T, x) for x in xs))), *arrays, tolerance=1e-8)


@pytest.mark.parametrize("hermitian", [False, True])
def test_ldl_of_indefinite_matrices(hermitian: bool) -> None:
    def factor(T: Any, x: Any) -> Any:
        z = complexes(T, x.detach())
        z = z + (z.mH if hermitian else z.mT)
        factors = T.linalg.ldl_factor_ex(z, hermitian=hermitian)
        solution = T.linalg.ldl_solve(*factors[:2], z[..., :2], hermitian=hermitian)
        return [*parts(T, factors), *parts(T, [solution])]

    draw = np.random.default_rng(3)
    for shape in ((5, 5), (3, 9, 9), (40, 40)):
        same(factor, draw.normal(size=(*shape, 2)), tolerance=1e-7)


def test_lu_of_many_sizes_and_zero_pivots() -> None:
    draw = np.random.default_rng(4)
    for shape in ((70, 70), (100, 40), (40, 100), (2, 3, 5, 4), (0, 3), (3, 0), (2, 0, 0)):
        same(lambda T, x: T.linalg.lu_factor_ex(x.detach()), draw.normal(size=shape))
    same(lambda T, x: T.linalg.lu_factor_ex(x), np.stack([SINGULAR, np.eye(3), np.zeros((3, 3))]))
    same(lambda T, x: T.linalg.lu_factor(x), SINGULAR)
    same(lambda T, x: T.linalg.ldl_factor(x), np.zeros((3, 3)))
    for shape in ((2, 3, 3), (0, 2, 2), (2, 0, 0)):
        same(lambda T, x: T.linalg.ldl_factor_ex(x.detach()), np.zeros(shape))
    same(lambda T, x: T.lu_unpack(*T.linalg.lu_factor(x), unpack_data=False)[0].detach(), A)
    same(lambda T, x: T.lu_unpack(*T.linalg.lu_factor(x), unpack_pivots=False), A)


def test_lu_without_pivoting_multiplies_to_the_matrix() -> None:
    x = torchlite.tensor(BATCH, requires_grad=True)
    permutation, lower, upper = torchlite.linalg.lu(x, pivot=False)
    assert permutation.numel() == 0
    np.testing.assert_allclose((lower @ upper).detach().numpy(), BATCH, rtol=1e-12)


@pytest.mark.parametrize("driver", [None, "gels", "gelsy", "gelsd", "gelss", "other"])
def test_what_lstsq_computes_is_the_driver_s(driver: Any) -> None:
    right = np.random.default_rng(6).normal(size=(4, 2))
    for matrix, b in ((TALL, right), (TALL, right[:, 0]), (TALL.T.copy(), right[:3]), (TALL, right[:3])):
        same(lambda T, a, b: tuple(T.linalg.lstsq(a, b, driver=driver)), matrix, b, tolerance=1e-8)
    if driver != "gels":
        deficient = TALL @ np.array([[1.0, 0, 0], [0, 1, 1], [0, 0, 0]])
        same(
            lambda T, a, b: tuple(T.linalg.lstsq(a.detach(), b.detach(), driver=driver)),
            deficient,
            right,
            tolerance=1e-8,
        )


def test_tolerances_of_ranks() -> None:
    for keywords in ({}, {"atol": 0.5}, {"rtol": 0.5}, {"atol": 0.1, "rtol": 1e-3}, {"hermitian": True}):
        same(lambda T, x, k=keywords: T.linalg.matrix_rank(x, **k), POSITIVE)
        same(lambda T, x, k=keywords: T.linalg.pinv(x, **k), POSITIVE, tolerance=1e-8)
    same(lambda T, x: T.linalg.matrix_rank(x, tol=0.5), SINGULAR)
    same(lambda T, x: T.linalg.matrix_rank(x, atol=T.tensor([0.1, 5.0])), POSITIVE)
    same(lambda T, x: T.pinverse(x), WIDE)


REFUSED: dict[str, Any] = {
    "singular": lambda T: T.linalg.inv(T.ones(3, 3)),
    "singular_in_batch": lambda T: T.linalg.inv(T.stack([T.eye(2), T.zeros(2, 2)])),
    "singular_solve": lambda T: T.linalg.solve(T.zeros(3, 3), T.zeros(3)),
    "singular_checked": lambda T: T.linalg.inv_ex(T.zeros(3, 3), check_errors=True),
    "singular_power": lambda T: T.linalg.matrix_power(T.zeros(3, 3), -1),
    "indefinite": lambda T: T.linalg.cholesky(-T.eye(3)),
    "indefinite_checked": lambda T: T.linalg.cholesky_ex(-T.eye(3), check_errors=True),
    "cholesky_inverse": lambda T: T.cholesky_inverse(T.zeros(2, 2)),
    "half": lambda T: T.linalg.inv(T.zeros(3, 3, dtype=T.float16)),
    "vector": lambda T: T.linalg.inv(T.zeros(3)),
    "oblong": lambda T: T.linalg.det(T.zeros(3, 2)),
    "eigh_nan": lambda T: T.linalg.eigh(T.full((3, 3), float("nan"))),
    "eig_nan": lambda T: T.linalg.eig(T.full((3, 3), float("nan"))),
    "svd_nan": lambda T: T.linalg.svd(T.full((3, 3), float("nan"))),
    "svd_driver": lambda T: T.linalg.svd(T.zeros(2, 2), driver="gesvd"),
    "triangle": lambda T: T.linalg.eigh(T.zeros(3, 3), UPLO="X"),
    "solve_shapes": lambda T: T.linalg.solve(T.eye(3), T.zeros(2, 2)),
    "solve_dtypes": lambda T: T.linalg.solve(T.eye(3), T.zeros(3, 2, dtype=T.float64)),
    "pivots_dtype": lambda T: T.linalg.lu_solve(T.eye(3), T.ones(3, dtype=T.int64), T.zeros(3, 2)),
    "wide_reflections": lambda T: T.linalg.householder_product(T.zeros(3, 4), T.zeros(3)),
    "many_reflections": lambda T: T.linalg.householder_product(T.zeros(4, 3), T.zeros(4)),
    "reflections_dtype": lambda T: T.linalg.householder_product(T.zeros(4, 3), T.zeros(2, dtype=T.float64)),
    "ormqr_shape": lambda T: T.ormqr(T.zeros(4, 3), T.zeros(3), T.zeros(3, 2)),
    "vander": lambda T: T.linalg.vander(T.tensor([1.0, 2.0]), N=1),
    "vander_bool": lambda T: T.linalg.vander(T.tensor([True, False])),
    "tensorinv": lambda T: T.linalg.tensorinv(T.zeros(2, 3), ind=0),
    "tensorinv_shape": lambda T: T.linalg.tensorinv(T.zeros(2, 3), ind=1),
    "tensorsolve": lambda T: T.linalg.tensorsolve(T.zeros(2, 3), T.zeros(3)),
    "norm_order": lambda T: T.linalg.matrix_norm(T.zeros(2, 2), 3),
    "norm_word": lambda T: T.norm(T.zeros(2, 2), "abc"),
    "norm_dims": lambda T: T.linalg.norm(T.zeros(2, 2, 2), 2),
    "norm_empty": lambda T: T.linalg.vector_norm(T.zeros(0), float("inf")),
    "norm_integers": lambda T: T.norm(T.zeros(2, dtype=T.int64)),
    "cond_order": lambda T: T.linalg.cond(T.zeros(3, 3), "abc"),
    "cond_oblong": lambda T: T.linalg.cond(T.zeros(3, 2), 1),
    "cross_dims": lambda T: T.linalg.cross(T.zeros(3), T.zeros(2, 3)),
    "vecdot_integers": lambda T: T.linalg.vecdot(T.zeros(3, dtype=T.int64), T.zeros(3, dtype=T.int64)),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_same_type(name: str) -> None:
    same(REFUSED[name])


def test_failures_name_the_matrix_and_are_linalg_errors() -> None:
    singular = torchlite.stack([torchlite.eye(2), torchlite.zeros(2, 2)])
    with pytest.raises(torchlite.linalg.LinAlgError, match=r"Batch element 1.*diagonal element 1 is zero"):
        torchlite.linalg.inv(singular)
    with pytest.raises(torchlite.linalg.LinAlgError, match=r"leading minor of order 2 is not positive-definite"):
        torchlite.linalg.cholesky(torchlite.tensor([[1.0, 2.0], [2.0, 1.0]]))


def test_info_instead_of_errors() -> None:
    matrices = np.stack([np.eye(3), SINGULAR, np.zeros((3, 3))])
    same(lambda T, x: (T.linalg.inv_ex(x)[1], T.linalg.solve_ex(x, x)[1], T.linalg.cholesky_ex(x - 1)[1]), matrices)
    same(lambda T, x: T.linalg.cond(x.detach(), 1), matrices)


def test_older_names() -> None:
    same(lambda T, x: (*T.qr(x), T.cholesky(x @ x.mT), *T.lu(x, get_infos=True), x.inverse(), x.slogdet()[1]), BATCH)
    same(lambda T, x: (*T.triangular_solve(x, x, transpose=True), T.lu_solve(x, *T.lu(x))), BATCH, tolerance=1e-8)
    same(lambda T, x: T.svd(x, compute_uv=False), WIDE)
    same(lambda T, x, y: T.cross(x, y), TALL.T.copy(), TALL.T.copy())


def test_low_rank_approximations_find_a_matrix_of_low_rank() -> None:
    torchlite.manual_seed(0)
    draw = np.random.default_rng(8)
    for shape in ((30, 20), (2, 20, 30)):
        low = draw.normal(size=(*shape[:-1], 3)) @ draw.normal(size=(3, shape[-1]))
        for u, s, v, expected in (
            (*torchlite.svd_lowrank(torchlite.tensor(low), q=4), low),
            (
                *torchlite.svd_lowrank(
                    torchlite.tensor(low + 1), q=4, M=torchlite.ones(1, shape[-1], dtype=torchlite.float64)
                ),
                low,
            ),
            (*torchlite.pca_lowrank(torchlite.tensor(low), q=4), low - low.mean(-2, keepdims=True)),
        ):
            np.testing.assert_allclose(((u * s.unsqueeze(-2)) @ v.mH).numpy(), expected, atol=1e-9)


def test_every_public_name_of_torch_exists() -> None:
    import torch

    ours = set(dir(torchlite.linalg))
    public = {
        name for name in torch.linalg.__dict__ if not name.startswith("_") and callable(getattr(torch.linalg, name))
    }
    assert public - {"Tensor"} <= ours


def test_shapes_on_the_meta_device() -> None:
    x = torchlite.empty(2, 4, 3, device="meta", dtype=torchlite.complex64)
    square = torchlite.empty(5, 3, 3, device="meta")
    assert [tuple(f.shape) for f in torchlite.linalg.svd(x)] == [(2, 4, 4), (2, 3), (2, 3, 3)]
    assert [tuple(f.shape) for f in torchlite.linalg.lu(x)] == [(2, 4, 4), (2, 4, 3), (2, 3, 3)]
    assert tuple(torchlite.linalg.pinv(x).shape) == (2, 3, 4)
    assert torchlite.linalg.eig(square).eigenvectors.dtype is torchlite.complex64
    assert tuple(torchlite.linalg.solve(square, square[..., :2]).shape) == (5, 3, 2)
    assert tuple(torchlite.linalg.matrix_exp(square).shape) == (5, 3, 3)
    assert tuple(torchlite.linalg.householder_product(*torchlite.geqrf(x)).shape) == (2, 4, 3)
