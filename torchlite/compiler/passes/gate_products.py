"""The LSTM that multiplies its inputs by their weight itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container

import numpy as np

from torchlite.backends.native.recurrent import inputs_pay
from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.passes.rewriting import Replacement, computed, made, rewritten
from torchlite.devices import CPU


def multiply_inputs(graph: Graph) -> Graph:
    """``lstm_of_inputs`` in place of ``lstm`` and the ``linear`` that computes all its gates, for nobody else.

    Of float32 on a CPU: the gates' sums are then neither written nor read, and its cells lie beside more products.
    """
    uses = Counter(v for node in graph.nodes for v in node.reads()) + Counter(graph.outputs)
    own = {v for v, count in uses.items() if count == 1}  # which have one reader
    multiplies = [node.op.name == "lstm" and _multiplies(node, own) for node in graph.nodes]
    every = iter(multiplies)
    inserted: list[Node] = []

    def rule(node: Node) -> Replacement:
        if not next(every):
            return None
        linear = _behind_views(node.inputs[0]).node
        assert linear is not None
        x, w_ih, bias = linear.inputs
        shape = (*node.inputs[0].shape[:2], x.shape[-1])
        if x.shape != shape:
            x = computed(inserted, "view", x, shape=shape)
        return made(inserted, "lstm_of_inputs", x, w_ih, bias, *node.inputs[1:], **node.params).outputs

    return rewritten(graph, rule, inserted) if any(multiplies) else graph


def _behind_views(v: Value, own: Container[Value] | None = None) -> Value:
    """What a value is a view of, maybe of a view; only views that are in ``own`` count, where it is given."""
    while v.node is not None and v.node.op.name == "view" and (own is None or v in own):
        v = v.node.inputs[0]
    return v


def _multiplies(lstm: Node, own: Container[Value]) -> bool:
    """Whether a product of inputs with a weight is all gates, for the LSTM alone, and it pays to multiply there."""
    gates, *_, w_hh = lstm.inputs
    product = _behind_views(gates, own)
    node, aval = product.node, product.aval
    if node is None or node.op.name != "linear" or len(node.inputs) != 3 or product not in own or aval is None:
        return False
    if len(lstm.inputs) != 4 or w_hh.shape[0] != 4 * w_hh.shape[1] or aval.dtype != np.float32 or aval.device != CPU:
        return False
    steps, samples, width = gates.shape
    return product.shape[-1] == width and inputs_pay((steps, samples, width // 4), node.inputs[0].shape[-1])
