"""Products of matrices: operands where and as they lie, and what follows done to each finished tile."""

from __future__ import annotations

import math

import numpy as np

from torchlite.backends.matmul_precision import splits_float32
from torchlite.backends.native import bfloat16
from torchlite.backends.native.products import (
    depth,
    division,
    division_in_tiles,
    fetches_ahead,
    numbers,
    pays_in_tiles,
    scratch_in_tiles,
)
from torchlite.compiler.graph import Node
from torchlite.compiler.program.lowering import Lowering, Plain
from torchlite.compiler.program.places import Array, Order, Place, fresh
from torchlite.compiler.program.stores import store_of_rows
from torchlite.compiler.program.tile_sums import rows_of_a_sum
from torchlite.compiler.program.writer import Writer

_COLUMNS = 64  # of a tile, at most
_BLOCK = 32  # columns of a tile in bfloat16, at most
_MANY = 1 << 16  # numbers of a result which are no longer in the first-level cache when it is complete
_FAR = 1 << 18  # numbers of a result beside which other arrays like it are in no second-level cache


def lowered(node: Node) -> Lowering | None:
    """How ``linear`` and ``matmul`` become C; None for batches in more than two dimensions, and for nothing in bfloat16."""
    arrays = [v.aval for v in (*node.inputs, *node.outputs) if v.aval is not None]
    (dtype, *others) = {np.dtype(a.dtype) for a in arrays}
    if others or any(a.ndim > 4 for a in arrays):
        return None
    if dtype == bfloat16.BFLOAT16:
        return _BFLOAT16 if all(a.size for a in arrays) else None
    if dtype != np.float32:
        return None
    return _IN_TILES if splits_float32("matmul") and pays_in_tiles(*_lengths(node)) else _FLOAT32


class _Product(Plain):
    def continues(self, node: Node) -> bool:  # noqa: ARG002
        """Always."""
        return True

    def wanted(self, node: Node, orders: list[Order | None]) -> list[Order | None]:  # noqa: ARG002
        """Any strides."""
        return [None for _ in node.inputs]


class _Float32(_Product):
    """As ``gemm.h`` does it."""

    headers: tuple[str, ...] = ("gemm.h",)
    function = "multiply_matrices"
    fetching = "fetching_tiles"
    most: int | None = _COLUMNS
    summed = -1

    def together(self, node: Node) -> int:
        """Rows of a task, however it is divided, or a part of them, where a row's numbers are many and finished by one task."""
        m, n, k, products = _lengths(node)
        if products > 1 or m * n < _MANY or depth(m, n, k, products) < k:
            return 0
        return rows_of_a_sum(*self.rows_of_tasks(node))

    def rows_of_tasks(self, node: Node) -> list[int]:
        """How many rows a task may have."""
        return [division(*_lengths(node), transposed=transposed)[0] for transposed in (False, True)]

    def scratch(self, node: Node) -> int:
        """The sums of each part of a long inner dimension."""
        m, n, k, products = _lengths(node)
        part = depth(m, n, k, products)
        return 4 * products * m * n * -(-k // part) if part < k else 0

    def divided(self, sizes: list[int]) -> tuple[list[int], list[int]]:
        """The numbers of a ``Product``, and what else the function is called with."""
        return sizes, []

    def write(self, node: Node, writer: Writer) -> None:
        """Describe the product and compute it."""
        x, y, *bias = node.inputs
        finish, context, streams = store_of_rows(
            node, writer, _COLUMNS, bias[0] if bias else None, fetches="0", most=self.most
        )
        left, right = (writer.step.places[v].ghost for v in (x, y))
        if node.op.name == "linear":
            right = right.T
        operands = ", ".join(f"(const float *)({writer.pointer(v)})" for v in (x, y))
        described, others = self.divided(numbers(left.shape, left.strides, right.shape, right.strides))
        sizes, rest = ", ".join(map(str, described)), "".join(f", {number}" for number in others)
        scratch = f"(float *)({writer.scratch()})" if writer.step.scratch else "NULL"
        fetching = f", {self.fetching}" if streams != "{0}" and fetches_ahead(*described[:3]) else ""
        product = f"(Product){{{operands}, {sizes}, {scratch}, {finish}, {context}, {streams}{fetching}}}"
        writer.statement(f"{self.function}(&{product}{rest});")


class _InTiles(_Float32):
    """As ``gemm_tiles.h`` does it."""

    headers: tuple[str, ...] = ("gemm.h", "bfloat16.h", "split_float32.h", "gemm_tiles.h")
    function = "multiply_split"
    fetching = "FETCHING_WITHOUT_SPLIT"
    most = None

    def together(self, node: Node) -> int:
        """The same, where it is not the transpose that is computed, and tasks have all of k."""
        m, n, k, products = _lengths(node)
        return super().together(node) if division_in_tiles(m, n, k, products)[2] == k else 0

    def rows_of_tasks(self, node: Node) -> list[int]:
        """In tiles, or without."""
        return [division_in_tiles(*_lengths(node))[0], *super().rows_of_tasks(node)]

    def scratch(self, node: Node) -> int:
        """The same, and what is packed."""
        return max(super().scratch(node), scratch_in_tiles(*_lengths(node)))

    def divided(self, sizes: list[int]) -> tuple[list[int], list[int]]:
        """Tasks in tiles; and the rows, columns and depth of those without, on processors whose second-level caches are smaller."""
        m, n, k = sizes[:3]
        products, transposed = sizes[7] * sizes[8], sizes[6] != 1
        without = division(m, n, k, products, transposed, halves=False)
        return [*sizes[:-3], *division_in_tiles(m, n, k, products)], list(without)


def _lengths(node: Node) -> tuple[int, int, int, int]:
    """Rows, columns, the numbers that are summed over, and how many products there are."""
    out = node.outputs[0].shape
    return out[-2], out[-1], node.inputs[0].shape[-1], math.prod(out[:-2])


class _BFloat16(_Product):
    """As ``bfloat16.h`` does it, with sums in float32 that are rounded once, after a bias."""

    headers: tuple[str, ...] = ("bfloat16.h",)

    def scratch(self, node: Node) -> int:
        """Packed operands, of which the left one may also be taken as it lies."""
        x, y = (fresh(v.shape, bfloat16.BFLOAT16, tuple(range(len(v.shape)))[::-1]) for v in node.inputs[:2])
        left, right = _operands(node, x, y)
        dense = fresh(left.shape, left.dtype, None)
        return max(int(bfloat16.C.scratch(bfloat16.geometry(a, right))) for a in (left, dense))

    def write(self, node: Node, writer: Writer) -> None:
        """Describe the product and compute it."""
        x, y, *bias = node.inputs
        finish, context, streams = store_of_rows(
            node, writer, _COLUMNS, bias[0] if bias else None, fetches="BF16_STORES_FETCH", most=_BLOCK
        )
        if math.prod(node.outputs[0].shape) < _FAR:  # asking for what is near costs more than it brings
            streams = "{0}"
        at = [writer.step.places[v] for v in (x, y)]
        left, right = _operands(node, *(place.ghost for place in at))
        steps = bfloat16.steps(left, 2, 3), bfloat16.steps(right, 3, 2)
        operands = ", ".join(_operand(writer, place, own) for place, own in zip(at, steps, strict=True))
        sizes = ", ".join(map(str, bfloat16.sizes(left, right)))
        writer.statement(
            f"bf16_product(&(Bf16Product){{{operands}, {sizes}, {finish}, {context}, {writer.scratch()}, {streams}}});"
        )


def _operands(node: Node, x: Array, y: Array) -> tuple[Array, Array]:
    """Both as (outer, inner, rows, columns), broadcast against each other."""
    if node.op.name == "linear":
        y = y.T
    batch = np.broadcast_shapes((1, 1), x.shape[:-2], y.shape[:-2])
    return np.broadcast_to(x, batch + x.shape[-2:]), np.broadcast_to(y, batch + y.shape[-2:])


def _operand(writer: Writer, place: Place, steps: list[int]) -> str:
    return f"{{{writer.address(place)}, {', '.join(map(str, steps))}}}"


_FLOAT32, _IN_TILES, _BFLOAT16 = _Float32(), _InTiles(), _BFloat16()
