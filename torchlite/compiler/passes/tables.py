"""Products of rows of a table, which are rows of the product of the table."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.passes.rewriting import Replacement, computed, made, rewritten

_FEWER = 4  # times fewer rows than the table must have than are taken from it

Make = Callable[..., Value]


@dataclass(frozen=True)
class Rows:
    """A matrix whose rows are those of a table with these numbers, which are a vector."""

    table: Value
    numbers: Value


def multiply_tables(graph: Graph) -> Graph:
    """Multiply a small table and take rows of the product, in place of multiplying many rows of the table; and the gradients.

    With x = table[n], an embedding in front of a linear layer, and S the sums of the rows of g by their numbers n:

        x Wᵀ = (table Wᵀ)[n]        gᵀ x = Sᵀ table        sums of the rows of g W by n = S W

    Sums are then taken in another order than the function took them.
    """
    inserted: list[Node] = []

    make = partial(computed, inserted)

    def rule(node: Node) -> Replacement:
        found = replaced(node)
        if found is None:
            inserted.clear()
        return found

    def replaced(node: Node) -> Replacement:
        if node.op.name == "linear":
            rows = _rows(node.inputs[0], make, converted=True)
            if rows is not None:
                product = make("linear", rows.table, *node.inputs[1:])
                return [make("index", product, rows.numbers, spec=("tensor",))]
        elif node.op.name == "matmul":
            turned = node.inputs[0].node
            if turned is not None and turned.op.name == "permute" and turned.params["dims"] == (1, 0):
                rows = _rows(node.inputs[1], make)
                if rows is not None:
                    sums = _sums(turned.inputs[0], rows.numbers, rows.table.shape[0], make)
                    return [make("matmul", make("permute", sums, dims=(1, 0)), rows.table)]
        elif node.op.name == "index_add" and node.params["spec"] == ("tensor",):
            return _added(node, make)
        return None

    return rewritten(graph, rule, inserted)


def sum_tables(graph: Graph) -> Graph:
    """Sum a small table of sums of rows, which has the same sum as the many rows: the gradient of a bias behind an embedding."""
    tables: dict[Value, Value] = {}
    inserted: list[Node] = []

    def rule(node: Node) -> Replacement:
        rows = node.inputs[0] if node.inputs else None
        if rows is None or rows.aval is None or len(rows.shape) != 2:
            return None
        if node.op.name == "index_add" and len(node.inputs[1].shape) == 1 and node.params["spec"] == ("tensor",):
            if _many(node.inputs[1], node.params["shape"][0]):
                tables[rows] = node.outputs[0]
        elif node.op.name == "sum" and node.params["dims"] == (0,) and rows in tables:
            return made(inserted, "sum", tables[rows], **node.params).outputs
        return None

    return rewritten(graph, rule, inserted)


def _sums(g: Value, numbers: Value, rows: int, make: Make) -> Value:
    return make("index_add", g, numbers, spec=("tensor",), shape=(rows, g.shape[1]))


def _rows(x: Value, make: Make, *, converted: bool = False) -> Rows | None:
    """What table a matrix consists of rows of, which may be ``converted``; None where it does not, or of too large a one."""
    steps: list[Node] = []
    node = x.node
    while node is not None and (_keeps_rows(node) or (converted and node.op.name == "cast")):
        steps.append(node)
        node = node.inputs[0].node
    if len(x.shape) != 2 or node is None or node.op.name != "index" or node.params["spec"] != ("tensor",):
        return None
    table, numbers = node.inputs
    if len(table.shape) != 2 or not _many(numbers, table.shape[0]):
        return None
    for step in reversed(steps):
        if step.op.name == "permute":
            numbers = make("permute", numbers, dims=step.params["dims"][:-1])
        elif step.op.name == "cast":
            table = make("cast", table, **step.params)
    return Rows(table, _vector(numbers, make))


def _added(node: Node, make: Make) -> Replacement:
    """The sums of rows of a product by their numbers as the product of sums."""
    values, numbers = node.inputs
    rows, *inner = node.params["shape"]
    if len(inner) != 1 or not _many(numbers, rows):
        return None
    while values.node is not None and _keeps_rows(values.node):
        step = values.node
        if step.op.name == "permute":
            lead = step.params["dims"][:-1]
            numbers = make("permute", numbers, dims=tuple(lead.index(d) for d in range(len(lead))))
        elif step.op.name == "view":
            numbers = make("view", make("clone", numbers, order=()), shape=step.inputs[0].shape[:-1])
        values = step.inputs[0]
    source = values.node
    if source is None or source.op.name != "matmul" or len(source.inputs[0].shape) != 2:
        return None
    g, weight = source.inputs
    if len(weight.shape) != 2 or (g.node is not None and g.node.op.name == "permute"):
        return None
    return [make("matmul", _sums(g, _vector(numbers, make), rows, make), weight)]


def _vector(numbers: Value, make: Make) -> Value:
    if len(numbers.shape) == 1:
        return numbers
    return make("view", make("clone", numbers, order=()), shape=(math.prod(numbers.shape),))


def _keeps_rows(node: Node) -> bool:
    """Whether an operation only moves rows, the last dimension, or copies them."""
    name = node.op.name
    if name == "permute":
        dims: tuple[int, ...] = node.params["dims"]
        return dims[-1] == len(dims) - 1
    if name == "view":
        before, after = node.inputs[0].shape, node.outputs[0].shape
        return bool(before and after) and before[-1] == after[-1]
    return name == "clone"


def _many(numbers: Value, rows: int) -> bool:
    return numbers.aval is not None and numbers.aval.dtype.kind == "i" and numbers.aval.size >= _FEWER * rows
