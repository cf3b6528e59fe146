"""Views that undo each other, or change nothing, and copies of what never changes."""

from __future__ import annotations

from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.passes.rewriting import Replacement, rewritten


def cancel_views(graph: Graph) -> Graph:
    """Without permutations and reshapes that change nothing, alone or together with the one before."""
    return rewritten(graph, _cancelled)


def cancel_copies(graph: Graph) -> Graph:
    """Without copies that lie in memory as their original does: values never change, so one serves as well."""
    return rewritten(graph, _uncopied)


def _uncopied(node: Node) -> Replacement:
    if node.op.name != "clone" or node.params["order"] is not None:
        return None
    source = node.inputs[0].node
    return None if source is not None and source.op.kind == "view" else node.inputs


def _cancelled(node: Node) -> Replacement:
    if node.op.name == "permute":
        return _same(node.inputs[0], node.params["dims"])
    if node.op.name in ("view", "expand"):
        x = node.inputs[0]
        if x.aval is not None and x.aval.shape == node.params["shape"]:
            return [x]
        if node.op.name == "view" and x.node is not None and x.node.op.name == "view":
            before = x.node.inputs[0]
            if before.aval is not None and before.aval.shape == node.params["shape"]:
                return [before]
    return None


def _same(x: Value, dims: tuple[int, ...]) -> Replacement:
    if dims == tuple(range(len(dims))):
        return [x]
    if x.node is not None and x.node.op.name == "permute":
        before = x.node.params["dims"]
        if tuple(before[d] for d in dims) == tuple(range(len(dims))):
            return x.node.inputs[:1]
    return None
