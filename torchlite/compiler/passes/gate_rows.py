"""The LSTM behind an embedding, whose gates are rows of a table."""

from __future__ import annotations

from collections import Counter

import numpy as np

from torchlite.backends.native.bfloat16 import BFLOAT16
from torchlite.backends.native.recurrent import rows_pay
from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.passes.rewriting import Replacement, computed, made, rewritten
from torchlite.devices import CPU


def take_gate_rows(graph: Graph) -> Graph:
    """``lstm_of_rows`` in place of ``lstm`` and the ``index`` that takes all its gates from a small table, for nobody else.

    Of float32 or bfloat16 on a CPU: the many rows are then neither written nor read.
    """
    uses = Counter(v for node in graph.nodes for v in node.reads()) + Counter(graph.outputs)
    inserted: list[Node] = []

    def rule(node: Node) -> Replacement:
        index = _index(node, uses) if node.op.name == "lstm" and len(node.inputs) == 4 else None
        if index is None:
            return None
        table, numbers = index.inputs
        numbers = computed(inserted, "view", numbers, shape=node.inputs[0].shape[:2])
        return made(inserted, "lstm_of_rows", table, numbers, *node.inputs[1:], **node.params).outputs

    return rewritten(graph, rule, inserted)


def _index(lstm: Node, uses: Counter[Value]) -> Node | None:
    """What takes the gates from a table, if something does and if that pays."""
    gates, *_, w_hh = lstm.inputs
    v = gates
    while uses[v] == 1 and v.node is not None and v.node.op.name in ("view", "clone"):
        v = v.node.inputs[0]
    node = v.node
    if uses[v] != 1 or node is None or node.op.name != "index" or node.params["spec"] != ("tensor",):
        return None
    table, numbers = node.inputs
    if len(table.shape) != 2 or table.shape[1] != gates.shape[2] or w_hh.shape[0] != 4 * w_hh.shape[1]:
        return None
    if table.aval is None or table.aval.dtype not in (np.float32, BFLOAT16) or table.aval.device != CPU:
        return None
    if numbers.aval is None or numbers.aval.dtype != np.int64:
        return None
    steps, samples, width = gates.shape
    return node if rows_pay((steps, samples, width // 4), table.shape[0]) else None
