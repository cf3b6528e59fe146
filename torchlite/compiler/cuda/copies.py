"""Copies and views that change nothing about what has just been written in rows: values never change, so that serves as well."""

from __future__ import annotations

from torchlite.compiler.cuda.launch import Kernel
from torchlite.compiler.cuda.tables import TableKernel
from torchlite.compiler.graph import Graph, Node, Value


def in_rows(graph: Graph) -> set[Value]:
    """The values that are known to lie row by row without gaps, from where memory begins that was taken for them."""
    found: set[Value] = set()
    for node in graph.nodes:
        copied = node.op.name == "cat" or (node.op.name == "clone" and node.params["order"] == ())
        kept = node.op.name == "view" or (node.op.name == "clone" and node.params["order"] is None)
        if copied or isinstance(node.op.run, (Kernel, TableKernel)) or (kept and node.inputs[0] in found):
            found.update(node.outputs)
    return found


def without_copies(graph: Graph) -> Graph:
    """The graph with what lies in rows in place of copies of it, and with one view of that where there were several.

    Values that are left stay the same objects: kernels know theirs.

    Args:
        graph: after what belongs together has become kernels.
    """
    known = in_rows(graph)
    became: dict[Value, Value] = {}
    viewed: dict[Value, Value] = {}
    nodes = []
    for node in graph.nodes:
        inputs = tuple(became.get(v, v) for v in node.inputs)
        if node.op.name in ("view", "clone") and node.inputs[0] in known:
            (x,), (out,) = inputs, node.outputs
            if node.op.name == "view":
                viewed[out] = x = viewed.get(x, x)
                inputs = (x,)
            if x.shape == out.shape and node.params.get("order") in ((), None):
                became[out] = x
                continue
        nodes.append(node if inputs == node.inputs else _reading(node, inputs))
    return graph.with_nodes(nodes, became)


def _reading(node: Node, inputs: tuple[Value, ...]) -> Node:
    """The operation on other inputs, with the same results."""
    return Node(node.op, inputs, node.params, node.outputs, node.lifted, node.several, node.line)
