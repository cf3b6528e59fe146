"""The gradient of an LSTM that multiplies the cotangents of its gates by the weight of its inputs itself."""

from __future__ import annotations

import numpy as np

from torchlite.backends.native.recurrent import inputs_gradient_pays
from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.passes.dead_code import without_dead_code
from torchlite.compiler.passes.gate_sums import rows_of_cotangents
from torchlite.compiler.passes.rewriting import Replacement, made, rewritten


def multiply_cotangents(graph: Graph) -> Graph:
    """``lstm_grad_inputs`` in place of ``lstm_grad``, of the product of all its gates' cotangents with a weight and of their sums.

    Of float32 on a CPU, with a weight that is there from the beginning: they are multiplied and summed
    while they are in the caches.
    """
    graph = without_dead_code(graph)  # as products are that another pass has made needless
    products = _products(graph)
    if not products:
        return graph
    sums = _sums(graph)
    originals = iter(graph.nodes)
    found: dict[Value, Value] = {}
    inserted: list[Node] = []

    def rule(node: Node) -> Replacement:
        result = next(originals).outputs[0]
        if result in found:
            return [found[result]]
        product = products.get(result)
        if product is None:
            return None
        outputs = made(inserted, "lstm_grad_inputs", *node.inputs, product.inputs[1], **node.params).outputs
        found[product.outputs[0]] = made(inserted, "view", outputs[3], shape=product.outputs[0].shape).outputs[0]
        found.update(dict.fromkeys(sums.get(result, ()), outputs[4]))
        return outputs[:3]

    return rewritten(graph, rule, inserted)


def _products(graph: Graph) -> dict[Value, Node]:
    """Of the cotangents of each LSTM's gates the product that its gradient can compute, if there is one."""
    found: dict[Value, Node] = {}
    for node in graph.nodes:
        if node.op.name != "matmul" or node.inputs[1].node is not None:
            continue
        gates = rows_of_cotangents(node.inputs[0])
        if gates is None or gates.aval is None or gates.aval.dtype != np.float32:
            continue
        steps, samples, width = gates.shape
        if inputs_gradient_pays((steps, samples, width // 4), node.inputs[1].shape[1]):
            found.setdefault(gates, node)
    return found


def _sums(graph: Graph) -> dict[Value, list[Value]]:
    """Of the cotangents of each LSTM's gates their sums over time and samples."""
    found: dict[Value, list[Value]] = {}
    for node in graph.nodes:
        if node.op.name == "sum" and node.params["dims"] == (0,) and not node.params["keepdim"]:
            gates = rows_of_cotangents(node.inputs[0])
            if gates is not None:
                found.setdefault(gates, []).append(node.outputs[0])
    return found
