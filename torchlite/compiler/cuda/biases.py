"""Biases that no kernel adds are given back to their products, which add them in their own store."""

from __future__ import annotations

from collections import Counter

from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.passes import without_dead_code
from torchlite.ir import REGISTRY


def with_biases(graph: Graph) -> Graph:
    """The graph with ``linear(x, w) + b`` as one operation, where only that sum reads the product.

    Args:
        graph: after what belongs together has become kernels.
    """
    readers = Counter(v for node in graph.nodes for v in node.reads())
    readers.update(graph.outputs)
    nodes = [whole for node in graph.nodes for whole in _joined(node, readers)]
    return without_dead_code(graph.with_nodes(nodes))


def _joined(node: Node, readers: Counter[Value]) -> list[Node]:
    """A sum as a product with a bias, seen in more dimensions where the sum has them; anything else as it is."""
    if node.op.name != "add" or node.device.type != "cuda":
        return [node]
    x, bias = node.inputs
    view = x.node if x.node is not None and x.node.op.name == "view" else None
    if view is not None and readers[x] == 1:
        (x,) = view.inputs
    product = x.node
    if product is None or product.op.name != "linear" or len(product.inputs) != 2 or readers[x] != 1:
        return [node]
    assert x.aval is not None
    if bias.aval is None or bias.aval.shape != x.aval.shape[1:] or bias.aval.dtype != x.aval.dtype:
        return [node]
    whole = Node(REGISTRY["linear"], (*product.inputs, bias), {}, line=node.line)
    if view is None:
        whole.outputs = node.outputs
        return [whole]
    whole.outputs = (Value(x.aval, whole),)
    seen = Node(view.op, whole.outputs, view.params, line=view.line)
    seen.outputs = node.outputs
    return [whole, seen]
