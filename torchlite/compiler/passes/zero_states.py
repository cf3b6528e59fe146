"""Products with the states before each step of an LSTM, without those that are zeros."""

from __future__ import annotations

import math

from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.passes.gate_sums import cotangents_of_gates
from torchlite.compiler.passes.rewriting import Replacement, computed, rewritten


def leave_out_zero_states(graph: Graph) -> Graph:
    """``dᵀ h`` of the cotangents d of an LSTM's gates, summed only over steps before which states are not constant zeros.

    The first step has such states where a network is given none. What they are multiplied with is taken to be finite: of this
    step nothing else than the recurrent weight's gradient would lose a NaN.
    """
    inserted: list[Node] = []

    def rule(node: Node) -> Replacement:
        if node.op.name != "matmul" or cotangents_of_gates(node.inputs[0]) is None:
            return None
        found = _beside_zeros(node.inputs[1])
        if found is None:
            return None
        states, rows = found
        turned = computed(inserted, "select", node.inputs[0], index=(slice(None), rows))
        matrix = computed(inserted, "view", states, shape=(turned.shape[1], states.shape[-1]))
        return [computed(inserted, "matmul", turned, matrix)]

    return rewritten(graph, rule, inserted)


def _beside_zeros(matrix: Value) -> tuple[Value, slice] | None:
    """What a matrix consists of beside constant zeros above or below it, in any shape, and in which rows it lies."""
    v = matrix
    while v.node is not None and v.node.op.name == "view":
        v = v.node.inputs[0]
    node = v.node
    if node is None or node.op.name != "cat" or node.params["dim"] != 0 or v.shape[-1] != matrix.shape[1]:
        return None
    if len(node.inputs) != 2 or sum(map(_is_zero, node.inputs)) != 1:
        return None
    above, below = (math.prod(part.shape[:-1]) for part in node.inputs)
    if not above or not below:  # one step: without it nothing would be left that a NaN could reach
        return None
    if _is_zero(node.inputs[0]):
        return node.inputs[1], slice(above, above + below)
    return node.inputs[0], slice(0, above)


def _is_zero(v: Value) -> bool:
    return v.constant is not None and not v.constant.any()
