"""Products of tensors against PyTorch's, with gradients."""

import numpy as np
import pytest
from oracle import same

rng = np.random.default_rng(31)
A, B, C = rng.normal(size=(3, 4)), rng.normal(size=(4, 5)), rng.normal(size=(5, 2))
BATCH, OTHER = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 4, 5))
SQUARE, V, W = rng.normal(size=(4, 4)), rng.normal(size=4), rng.normal(size=3)
CUBE = rng.normal(size=(2, 3, 4))

EQUATIONS = [
    ("ij,jk->ik", (A, B)), ("ij,jk", (A, B)), ("ij->ji", (A,)), ("ij->", (A,)), ("ij->j", (A,)), ("ii->i", (SQUARE,)),
    ("ii", (SQUARE,)), ("i,i", (V, V)), ("i,j->ij", (W, V)), ("bij,bjk->bik", (BATCH, OTHER)),
    ("...ij,...jk->...ik", (BATCH, OTHER)), ("...ij,jk->...ik", (BATCH, B)), ("bij,b->ij", (BATCH, rng.normal(size=2))),
    ("ij,jk,kl->il", (A, B, C)), ("ij,jk,kl->", (A, B, C)), ("ij,kj,i->k", (A, rng.normal(size=(6, 4)), W)),
    ("bhqd,bhkd->bhqk", (rng.normal(size=(2, 2, 3, 4)), rng.normal(size=(2, 2, 5, 4)))),
    ("ij,ij->ij", (A, A)), ("ij,ij", (A, A)), ("...", (CUBE,)), ("i...->...i", (CUBE,)), ("ij , j -> i", (A, V)),
    ("ij,jk->ik", (rng.normal(size=(3, 1)), B)), ("bn,anm,bm->ba", (A[:2], rng.normal(size=(5, 4, 3)), A[:2, :3])),
    ("ij,k->i", (A, W)), ("iij->j", (rng.normal(size=(3, 3, 2)),)), ("ij,jk->ik", (np.zeros((0, 4)), B)), ("ik,kj->ij", (A, A)),
    ("ij->ii", (A,)), ("ij->k", (A,)), ("i", (A,)), ("i,j", (A,)), ("i1", (A,)), (",->", (np.array(2.0), np.array(3.0))),
    ("a,b,c,d->abcd", (V, W, V, W)), ("ea,fb,abcd,gc,hd->efgh", (SQUARE,) * 2 + (rng.normal(size=(4, 4, 4, 4)),) + (SQUARE,) * 2),
]  # fmt: skip


@pytest.mark.parametrize(("equation", "arrays"), EQUATIONS, ids=[f"{i} {e}" for i, (e, _) in enumerate(EQUATIONS)])
def test_einsum(equation, arrays) -> None:
    same(lambda T, *xs: T.einsum(equation, *xs), *arrays)


def test_einsum_with_lists_and_integers() -> None:
    same(lambda T, x, y: T.einsum(x, [0, 1], y, [1, 2], [0, 2]), A, B)
    same(lambda T, x, y: T.einsum(x, [..., 0, 1], y, [..., 1, 2]), BATCH, OTHER)
    same(lambda T, x, y: T.einsum("ij,jk", [x, y]), A, B)
    same(lambda T, x, y: T.einsum("ij,jk", x, y), rng.integers(0, 5, (2, 3)), rng.integers(0, 5, (3, 2)))
    same(lambda T, x: T.einsum("ij->j", x), A.astype(np.float32))


def test_tensordot_and_inner() -> None:
    same(lambda T, x, y: T.tensordot(x, y, 1), BATCH, B)
    same(lambda T, x, y: T.tensordot(x, y, dims=([1, 2], [0, 1])), BATCH, A)
    same(lambda T, x, y: T.tensordot(x, y, 0), V, W)
    same(lambda T, x, y: T.tensordot(x, y, 2), A, A)
    same(lambda T, x, y: T.tensordot(x, y, 1), A, A)
    same(lambda T, x, y: T.inner(x, y), A, BATCH)
    same(lambda T, x, y: x.inner(y), np.array(2.0), A)
    same(lambda T, x, y: T.vdot(x, y), V, V + 1)


def test_kron_and_chains() -> None:
    same(lambda T, x, y: T.kron(x, y), A, B)
    same(lambda T, x, y: T.kron(x, y), V, B)
    same(lambda T, x, y: T.kron(x, y), CUBE, W)
    same(lambda T, x, y, z: T.chain_matmul(x, y, z), A, B, C)
    same(lambda T, v, x, y, z: T.linalg.multi_dot([v, x, y, z]), W, A, B, C)
    same(lambda T, x, y, z: T.linalg.multi_dot([x, y, z]), A, B, rng.normal(size=5))


def test_added_products() -> None:
    M = rng.normal(size=(2, 3, 5))
    same(lambda T, m, x, y: T.baddbmm(m, x, y, beta=0.5, alpha=2.0), M, BATCH, OTHER)
    same(lambda T, m, x, y: T.baddbmm(m.detach(), x, y, beta=0), np.full((2, 3, 5), np.nan), BATCH, OTHER)
    same(lambda T, m, x, y: m.baddbmm(x, y), M, BATCH, OTHER)
    same(lambda T, m, x, y: T.addbmm(m, x, y, alpha=2.0), M[0], BATCH, OTHER)
    same(lambda T, v, x, y: T.addmv(v, x, y, beta=2.0), W, A, V)
    same(lambda T, m, x, y: T.addr(m, x, y, alpha=0.5), A, W, V)
    same(lambda T, x, y: T.ger(x, y), W, V)


def test_products_of_bools_and_of_what_is_no_tensor_are_refused():
    same(lambda lib: lib.ones(2, 2, dtype=lib.bool) @ lib.ones(2, 2, dtype=lib.bool))
    same(lambda lib: lib.dot(lib.ones(2, dtype=lib.bool), lib.ones(2, dtype=lib.bool)))
    same(lambda lib: lib.ones(2, 2, dtype=lib.int8) @ lib.full((2, 2), 100, dtype=lib.int8))
    same(lambda lib: lib.ones(2, 2) @ 3)
