"""Rows that are copied into another order for nobody who needs it."""

from __future__ import annotations

import math

from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.passes.dead_code import without_dead_code
from torchlite.compiler.passes.rewriting import Replacement, computed, made, rewritten


def leave_rows(graph: Graph) -> Graph:
    """The rows of an array as they lie, where they are copied into another order for what treats them all alike.

    A linear layer and a loss behind a recurrent one with ``batch_first`` do: with P x the rows of x in the other order,

        P x Wᵀ = P (x Wᵀ)        (P g)ᵀ (P x) = gᵀ x        cross_entropy(P x, P t) = cross_entropy(x, t)

    so only the class indices are put in the order of x, and the cotangent of x comes as it is wanted. What is returned or drawn
    row by row needs its order: then the copy stays. Sums are taken in another order than the function took them.
    """
    for node in graph.nodes:
        after = _without_copy(graph, node) if _turns_rows(node) else None
        if after is not None:
            return leave_rows(after)
    return graph


def _turns_rows(node: Node) -> bool:
    """Whether it copies permuted rows, which are the last dimension."""
    if node.op.name != "clone" or node.params["order"] != ():
        return False
    turned = node.inputs[0].node
    if turned is None or turned.op.name != "permute":
        return False
    dims: tuple[int, ...] = turned.params["dims"]
    return len(dims) > 2 and dims[-1] == len(dims) - 1


def _without_copy(graph: Graph, copy: Node) -> Graph | None:
    """The graph with what follows from such a copy computed of the rows as they lie; None where something needs the other order."""
    followed = _Followed(copy)
    try:
        after = rewritten(graph, followed.rule, followed.inserted)
    except _OrderNeededError:
        return None
    return None if any(map(followed.holds, after.outputs)) else without_dead_code(after)


class _OrderNeededError(Exception):
    """What reads the rows does not treat them all alike."""


class _Followed:
    """What is computed of the copied rows, beside the same of the rows as they lie, one of which is the first dimension.

    Attributes:
        inserted: the operations of the latter, which `rewritten` takes.
    """

    def __init__(self, copy: Node) -> None:
        turned = copy.inputs[0].node
        assert turned is not None
        self.copy = copy
        self.source = turned.inputs[0]
        self.dims: tuple[int, ...] = turned.params["dims"][:-1]
        self.back = tuple(self.dims.index(d) for d in range(len(self.dims)))
        self.lead = copy.outputs[0].shape[:-1]
        self.count = math.prod(self.lead)
        self.rows: dict[Value, Value] = {}
        self.columns: dict[Value, Value] = {}
        self.targets: dict[Value, Value] = {}
        self.inserted: list[Node] = []

    def holds(self, v: Value) -> bool:
        """Whether it is in the other order."""
        return v in self.rows or v in self.columns

    def rule(self, node: Node) -> Replacement:
        """Compute the same of the rows as they lie; of results that have no rows, or have them as they lie, only that."""
        if node is self.copy:
            dense = self._make("clone", self.source, order=())
            self.rows[node.outputs[0]] = self._make("view", dense, shape=(self.count, self.source.shape[-1]))
            return None
        if not any(map(self.holds, node.reads())):
            return None
        name = node.op.name
        found = None
        if node.op.kind == "elementwise" and self._is_row_by_row(node):
            self._keep(node, *node.inputs)
        elif name in ("view", "clone") and self._has_rows(node.outputs[0], node.inputs[0]):
            self.rows[node.outputs[0]] = self.rows[node.inputs[0]]
        elif name == "linear" and self._only_first(node) and node.inputs[0] in self.rows:
            self._keep(node, *node.inputs)
        elif name == "permute":
            found = self._permuted(node)
        elif name == "matmul":
            found = self._multiplied(node)
        elif name == "sum" and self._is_flat(node.inputs[0]) and 0 in node.params["dims"]:
            found = [self._again(node, *node.inputs)[0]]
        elif name.startswith("cross_entropy") and node.params["reduction"] != "none":
            found = self._compared(node)
        else:
            raise _OrderNeededError
        return found

    def _make(self, name: str, *inputs: Value, **params: object) -> Value:
        return computed(self.inserted, name, *inputs, **params)

    def _again(self, node: Node, *inputs: Value) -> tuple[Value, ...]:
        """The results of the operation on inputs as they lie."""
        lying = (self.rows.get(v) or self.columns.get(v) or v for v in inputs)
        return made(self.inserted, node.op.name, *lying, **node.params).outputs

    def _keep(self, node: Node, *inputs: Value) -> None:
        self.rows[node.outputs[0]] = self._again(node, *inputs)[0]

    def _only_first(self, node: Node) -> bool:
        return not any(map(self.holds, node.inputs[1:]))

    def _is_flat(self, v: Value) -> bool:
        return v in self.rows and v.shape == self.rows[v].shape

    def _has_rows(self, v: Value, of: Value) -> bool:
        """Whether a view of rows still has them, along one dimension or as many as the copy has."""
        if of not in self.rows:
            return False
        row = self.rows[of].shape[1:]
        return v.shape in ((self.count, *row), (*self.lead, *row))

    def _is_row_by_row(self, node: Node) -> bool:
        """Whether an operation on elements does the same to each row: all rows have one length, and what else it reads has none."""
        (out, *others) = node.outputs
        if others or node.lifted:
            return False
        return all(
            v.shape == out.shape if v in self.rows else v.aval is not None and len(v.shape) < min(len(out.shape), 2)
            for v in node.inputs
        )

    def _permuted(self, node: Node) -> Replacement:
        """Rows as columns; or in the order in which they lie, for which nothing need be done."""
        (x,), dims = node.inputs, node.params["dims"]
        if self._is_flat(x) and dims == (1, 0):
            self.columns[node.outputs[0]] = self._make("permute", self.rows[x], dims=dims)
            return None
        if x not in self.rows or dims[: len(self.back)] != self.back or self._is_flat(x):
            raise _OrderNeededError
        return [self._make("view", self.rows[x], shape=node.outputs[0].shape)]

    def _multiplied(self, node: Node) -> Replacement:
        """Products of all rows with a matrix, or the sum over the rows of their products."""
        x, y = node.inputs
        if x in self.columns and self._is_flat(y):
            return self._again(node, x, y)
        if x not in self.rows or self.holds(y) or len(y.shape) != 2:
            raise _OrderNeededError
        self._keep(node, x, y)
        return None

    def _compared(self, node: Node) -> Replacement:
        """The loss of rows of logits whose class indices are put into their order, or its gradient."""
        at = int(node.op.name == "cross_entropy_grad")
        logits, target, *others = node.inputs[at:]
        if not self._is_flat(logits) or self.holds(target) or any(v not in self.rows for v in others[:1]):
            raise _OrderNeededError
        results = self._again(node, *node.inputs[:at], logits, self._target(target), *others)
        if at:
            self.rows[node.outputs[0]] = results[0]
            return None
        loss, self.rows[node.outputs[1]], count = results
        return [loss, node.outputs[1], count]

    def _target(self, target: Value) -> Value:
        """Numbers of all rows in the order in which these lie."""
        if target not in self.targets:
            turned = self._make("permute", self._make("view", target, shape=self.lead), dims=self.back)
            self.targets[target] = self._make("view", self._make("clone", turned, order=()), shape=(self.count,))
        return self.targets[target]
