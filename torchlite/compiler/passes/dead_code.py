"""Leaving out what nothing needs."""

from __future__ import annotations

from torchlite.compiler.graph import Graph, Node


def has_effect(node: Node) -> bool:
    """Whether an operation has its place among others: it works on a random stream, or checks."""
    return node.op.kind == "host" and node.op.name in ("take", "state", "restore", "check")


def without_dead_code(graph: Graph) -> Graph:
    """Only operations that an output depends on, or that have an effect."""
    needed = set(graph.outputs)
    kept = []
    for node in reversed(graph.nodes):
        if has_effect(node) or not needed.isdisjoint(node.outputs):
            kept.append(node)
            needed.update(node.reads())
    return graph.with_nodes(reversed(kept))
