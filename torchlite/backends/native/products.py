"""Products of matrices, batches of them, and linear layers, in float32 and any layout."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from torchlite.backends.native.library import Family

Array = np.ndarray[Any, Any]

C = Family(
    "arrays.h", "vectors.h", "gemm.h", "products.c",
    product="aaaaa->i", small_product="ooo->o", understands="oan->i",
)  # fmt: skip


def division(m: int, n: int, k: int, products: int, transposed: bool, halves: bool = True) -> tuple[int, int, int]:
    """Rows, columns and depth that one task of a product takes: up to 16 tasks of a million multiplications or more.

    They have many rows, because each copies what it needs of B, twice as many where it transposes that and eight tasks are left,
    and as many columns as possible, because two threads that write to neighbouring columns at once wait for each other's cache
    lines. Where sums are short, so that it is writing which takes time, even few rows are divided in two: half of the rows are
    the half of the memory that a thread has in its cache, unless it is too large to be there.

    Args:
        m: rows of A.
        n: columns of B.
        k: columns of A and rows of B.
        products: how many of that size there are.
        transposed: whether numbers of a row of B lie apart.
        halves: as in `depth`.
    """
    tasks = -(-min(max(m * n * k * products >> 20, 1), 16) // max(products, 1))
    few = 2 if m >= 96 and k <= 128 and m * n <= 1 << 19 and not transposed else 1
    rows = _share(m, min(tasks, max(m // 192, few)), 2)  # with a low tile behind the last ones
    if transposed and -(-m // rows) * (n // 64) >= 16:
        rows *= max((512 if k <= 128 else 384) // rows, 1)  # MOST_ROWS of ``gemm.h`` in sums over several blocks
    tasks = -(-tasks // -(-m // rows))
    return rows, _share(n, tasks, 64), depth(m, n, k, products, halves)


def depth(m: int, n: int, k: int, products: int, halves: bool = True) -> int:
    """How much of k a task takes: all, unless the results are too few for 16 tasks that have long sums.

    Half of it where the sums are longer than the result is high, and that is no wider, as in the gradients of most weights: of
    two threads each finds the samples of one half in its cache, where it has left them. A wider result is divided by columns.
    Without `halves`, for second-level caches that hold no such half, so is every other: adding two sums up costs a twentieth.
    """
    blocks = products * max(m // 192, 1) * -(-n // 64)
    tasks = -(-min(max(m * n * k * products >> 20, 1), 16) // max(blocks, 1))
    least = 2 if halves and k > m >= n and m * n * k >= 1 << 23 else 1
    return _share(k, max(min(tasks, max(k // 2048, 1)), least), 128)


_MOST_LINES = 512  # SPLIT_LINES of ``gemm_tiles.h``
_MOST_KEPT = 16  # SPLIT_KEPT, in blocks of 32 lines by 128 numbers


def pays_in_tiles(m: int, n: int, k: int, products: int = 1) -> bool:
    """Whether `multiply_split` of ``gemm_tiles.h`` is faster: where packed operands meet many others."""
    if _is_short(m, n, k, products):
        return True
    others = n if _is_wide(m, n, k, products) else m
    enough = 128 if division_in_tiles(m, n, k, products)[2] < k else 256
    return others >= enough and min(m, n) >= 64 and 96 <= k <= 1 << 13 and m * n * k >= 1 << 22


def fetches_ahead(m: int, n: int, k: int) -> bool:
    """Whether operands in a program do not all lie in the second-level caches, so that tiles should fetch what comes next.

    Only where they do they are compiled, which takes as long as the rest of ``gemm.h``.
    """
    return m * n * k >= 1 << 23


def division_in_tiles(m: int, n: int, k: int, products: int) -> tuple[int, int, int]:
    """Rows, columns and depth that one of its tasks takes, few and large, because each packs its columns.

    It also packs its rows, all of them before anything else where they are few beside its columns, as in a wide result whose sums
    are divided along k, and in one of short sums.
    """
    if _is_short(m, n, k, products):
        return _share(m, 1, 32), _share(n, 2, 32), k
    if _is_wide(m, n, k, products):
        columns, rows, part = division_in_tiles(n, m, k, 1)
        return rows, columns, part
    part = depth(m, n, k, products) if m >= n or products > 1 else k
    tasks = 1 if part < k else 4 if m * n * k >= 1 << 26 else 2
    return _share(m, tasks, 32), _share(n, -(-n // _MOST_LINES), 32), part


def _is_wide(m: int, n: int, k: int, products: int) -> bool:
    return products == 1 and m < n and depth(n, m, k, 1) < k


def _is_short(m: int, n: int, k: int, products: int) -> bool:
    """Whether sums are short and the result is wide and larger than caches, as the gradient of a large weight of 64 samples."""
    return products == 1 and 96 <= m <= 256 and 64 <= k <= 96 and n >= 4 * m and m * n > 1 << 19


def scratch_in_tiles(m: int, n: int, k: int, products: int) -> int:
    """Bytes of memory that it needs: for the sums of each part of k, in whole lines, and what each task packs, if that is much."""
    rows, columns, part = division_in_tiles(m, n, k, products)
    parts = -(-k // part)
    sums = parts * products * m * n if parts > 1 else 0
    tasks = parts * products * -(-m // rows) * -(-n // columns)
    lines = rows if 2 * rows <= columns or columns > _MOST_LINES else columns  # as `split_wide`
    blocks = -(-lines // 32) * -(-min(part, k) // 128)
    packed = blocks * 32 * 128 * 3 // 2 if blocks > _MOST_KEPT else 0
    return 4 * (-(-sums // 16) * 16 + tasks * packed)


def _share(length: int, parts: int, multiple: int) -> int:
    """How much each of about that many parts takes."""
    return max(-(-length // (parts * multiple)), 1) * multiple


@functools.lru_cache(1 << 10)
def _sizes(
    x_shape: tuple[int, ...], x_strides: tuple[int, ...], y_shape: tuple[int, ...], y_strides: tuple[int, ...]
) -> tuple[Array, tuple[int, ...]] | None:
    """The numbers of a Product, and the shape of its result; None for what is left to NumPy."""
    if len(x_shape) < 2 or len(y_shape) < 2 or any(stride % 4 for stride in (*x_strides, *y_strides)):
        return None
    lead = np.broadcast_shapes(x_shape[:-2], y_shape[:-2])
    m, n = x_shape[-2], y_shape[-1]
    if len(lead) > 2 or not _worth_it(m, n, x_shape[-1]):
        return None
    return np.array(numbers(x_shape, x_strides, y_shape, y_strides), np.int64), (*lead, m, n)


def numbers(
    x_shape: tuple[int, ...], x_strides: tuple[int, ...], y_shape: tuple[int, ...], y_strides: tuple[int, ...]
) -> list[int]:
    """What a Product of float32 matrices, or of batches in up to two dimensions, holds from its sizes on, in its order."""
    lead = np.broadcast_shapes(x_shape[:-2], y_shape[:-2])
    m, n, k = x_shape[-2], y_shape[-1], x_shape[-1]
    outer, inner = (1,) * (2 - len(lead)) + lead
    steps = [_before(shape, strides) for shape, strides in ((x_shape, x_strides), (y_shape, y_strides))]
    own = [stride // 4 for stride in (*x_strides[-2:], *y_strides[-2:])]
    return [m, n, k, *own, outer, inner, *steps[0], *steps[1], *division(m, n, k, outer * inner, y_strides[-1] != 4)]


def _worth_it(m: int, n: int, k: int) -> bool:
    """Whether BLAS would not be faster, as it is for a vector, for a tiny matrix and for some that are larger than caches."""
    return min(m, n // 2) >= 4 and 1 << 15 <= m * n * k <= 1 << 31


def _before(shape: tuple[int, ...], strides: tuple[int, ...]) -> list[int]:
    """Steps along the two dimensions before the matrices, 0 where one is repeated."""
    steps = [0 if length == 1 else stride // 4 for length, stride in zip(shape[:-2], strides[:-2], strict=True)]
    return [0] * (2 - len(steps)) + steps


def matmul(x: Array, y: Array, bias: Array | None = None) -> Array | None:
    """x @ y, with a bias added to each row."""
    if x.dtype != np.float32 or y.dtype != np.float32 or x.shape[-1] != y.shape[-2]:
        return None
    found = _sizes(x.shape, x.strides, y.shape, y.strides)
    if found is None:
        return None
    sizes, shape = found
    out = np.empty(shape, np.float32)
    return out if C.product(x, y, bias, out, sizes) else None


def linear(x: Array, weight: Array, bias: Array | None = None) -> Array | None:
    """x Wᵀ + b."""
    if bias is not None and (bias.dtype != np.float32 or bias.shape != weight.shape[:1]):
        return None
    return matmul(x, weight.T, None if bias is None else np.ascontiguousarray(bias))
